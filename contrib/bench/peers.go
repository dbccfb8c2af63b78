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
	command func(s site, listen string, threads int) (launch, error)
}

// launch is how to start a proxy.
type launch struct {
	argv, env []string
	admin     string // socket to ask about the request log; empty: none is kept
}

// running is a peer that serves.
type running struct {
	*peer
	*child
	listen string
	others []int       // processors of the load generator
	log    *requestLog // nil: none is kept
}

// start runs the peer with n threads in front of the site's upstream, and returns when a
// request has passed through it.
func (p *peer) start(ctx context.Context, s site, n int) (*running, error) {
	listen, err := freeAddr()
	if err != nil {
		return nil, err
	}
	how, err := p.command(s, listen, n)
	if err != nil {
		return nil, err
	}
	c, err := startChild(p.name, s.Dir, how.argv, how.env)
	if err != nil {
		return nil, err
	}
	r := &running{peer: p, child: c, listen: listen}
	if err := c.waitReady(ctx, func() error { return httpProbe(listen) }); err != nil {
		return nil, errors.Join(err, c.stop())
	}
	if how.admin != "" {
		if r.log, err = newRequestLog(ctx, adminSocket(how.admin)); err != nil {
			return nil, errors.Join(fmt.Errorf("%s: %w", p.name, err), c.stop())
		}
	}
	return r, nil
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
		command: func(s site, listen string, threads int) (launch, error) {
			conf, err := render(s.Dir, "nginx.conf", proxyConf{s, "nginx", listen, threads})
			return launch{argv: []string{program, "-e", "stderr", "-p", s.Dir, "-c", conf}}, err
		},
	}
}

func haproxyPeer(program string) *peer {
	return &peer{
		name:    "haproxy",
		program: program,
		version: askVersion(program, "-v"),
		command: func(s site, listen string, threads int) (launch, error) {
			conf, err := render(s.Dir, "haproxy.cfg", proxyConf{s, "haproxy", listen, threads})
			return launch{argv: []string{program, "-db", "-f", conf}}, err
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
