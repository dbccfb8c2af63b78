package main

import (
	"bytes"
	"context"
	"embed"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"text/template"
	"time"
)

//go:embed conf/*.tmpl
var confTemplates embed.FS

// site is what every configuration of a run is made from.
type site struct {
	Dir         string // temporary, holds everything
	PKI         pkiFiles
	Upstream    string // address of the upstream
	Conns       int    // client connections a proxy must be able to hold
	Files       uint64 // limit of open files
	Root        bool
	SmallBody   string
	UploadBytes int64
}

// peer is one proxy under test.
type peer struct {
	name    string
	program string
	version string
	own     bool // a build of mtlsproxyd

	// command writes what the proxy needs and returns how to start it.
	command func(s site, listen string, threads int) (argv, env []string, err error)
}

// running is a peer that serves.
type running struct {
	*peer
	*child
	listen string
	others []int // processors of the load generator
}

// start runs the peer with n threads in front of the site's upstream, and returns when a
// request has passed through it.
func (p *peer) start(ctx context.Context, s site, n int) (*running, error) {
	listen, err := freeAddr()
	if err != nil {
		return nil, err
	}
	argv, env, err := p.command(s, listen, n)
	if err != nil {
		return nil, err
	}
	c, err := startChild(p.name, s.Dir, argv, env)
	if err != nil {
		return nil, err
	}
	if err := c.waitReady(ctx, func() error { return httpProbe(listen) }); err != nil {
		return nil, errors.Join(err, c.stop())
	}
	return &running{peer: p, child: c, listen: listen}, nil
}

// startUpstream runs the service behind the proxies.
func startUpstream(ctx context.Context, s site, nginx string) (*child, error) {
	conf, err := render(s.Dir, "upstream.conf", s)
	if err != nil {
		return nil, err
	}
	c, err := startChild("upstream", s.Dir, []string{nginx, "-e", "stderr", "-p", s.Dir, "-c", conf}, nil)
	if err != nil {
		return nil, err
	}
	if err := c.waitReady(ctx, func() error { return tcpProbe(s.Upstream) }); err != nil {
		return nil, errors.Join(err, c.stop())
	}
	return c, nil
}

// proxyConf is what the templates of the proxies see.
type proxyConf struct {
	site
	Name    string
	Listen  string
	Threads int
}

func nginxPeer(program string) *peer {
	return &peer{
		name:    "nginx",
		program: program,
		version: askVersion(program, "-v"),
		command: func(s site, listen string, threads int) (argv, env []string, err error) {
			conf, err := render(s.Dir, "nginx.conf", proxyConf{s, "nginx", listen, threads})
			return []string{program, "-e", "stderr", "-p", s.Dir, "-c", conf}, nil, err
		},
	}
}

func haproxyPeer(program string) *peer {
	return &peer{
		name:    "haproxy",
		program: program,
		version: askVersion(program, "-v"),
		command: func(s site, listen string, threads int) (argv, env []string, err error) {
			conf, err := render(s.Dir, "haproxy.cfg", proxyConf{s, "haproxy", listen, threads})
			return []string{program, "-db", "-f", conf}, nil, err
		},
	}
}

// ownPeer is a build of mtlsproxyd; extra goes to the end of its command line.
func ownPeer(name, program string, extra []string) *peer {
	return &peer{
		name:    name,
		program: program,
		version: askVersion(program, "version"),
		own:     true,
		command: func(s site, listen string, threads int) (argv, env []string, err error) {
			argv = []string{
				program,
				"--listen", listen,
				"--upstream", "https://" + s.Upstream,
				"--cert", s.PKI.ClientCert,
				"--key", s.PKI.ClientKey,
				"--ca", s.PKI.CA,
			}
			return append(argv, extra...), []string{fmt.Sprintf("GOMAXPROCS=%d", threads)}, nil
		},
	}
}

// render fills the template of a configuration and writes it to dir.
func render(dir, name string, data any) (string, error) {
	t, err := template.ParseFS(confTemplates, "conf/"+name+".tmpl")
	if err != nil {
		return "", fmt.Errorf("reading template: %w", err)
	}
	var out bytes.Buffer
	if err := t.Execute(&out, data); err != nil {
		return "", fmt.Errorf("filling template: %w", err)
	}
	file := filepath.Join(dir, name)
	if err := os.WriteFile(file, out.Bytes(), 0o600); err != nil {
		return "", fmt.Errorf("writing configuration: %w", err)
	}
	return file, nil
}

// askVersion returns what a program says of itself in the first line, on stdout or stderr.
func askVersion(program, arg string) string {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	out, _ := exec.CommandContext(ctx, program, arg).CombinedOutput() // a failing one prints its reason
	return cleanVersion(string(out))
}

// cleanVersion cuts nginx's "nginx version: " and the address after HAProxy's version.
func cleanVersion(output string) string {
	line, _, _ := strings.Cut(strings.TrimSpace(output), "\n")
	line = strings.TrimPrefix(line, "nginx version: ")
	line, _, _ = strings.Cut(line, " - http")
	return strings.TrimSpace(line)
}
