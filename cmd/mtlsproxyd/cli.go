package main

import (
	"errors"
	"io"
	"strings"

	"github.com/alecthomas/kong"

	"github.com/mtlsproxy/mtlsproxy/service"
	"github.com/mtlsproxy/mtlsproxy/service/config"
)

// defaultConfig is read if it exists and nothing else is asked for.
const defaultConfig = "/etc/mtlsproxy/mtlsproxy.toml"

const description = `Lends client certificates to local applications.

Applications speak plain HTTP to a local socket; mtlsproxyd forwards their
requests over pooled mutual-TLS connections, with a client certificate whose key
they never see.

Try it:
  mtlsproxyd demo

One upstream needs no configuration file:
  mtlsproxyd --listen 127.0.0.1:8980 --upstream https://api.internal:8443 \
             --cert client.crt --key client.key --ca ca.crt
  curl http://127.0.0.1:8980/`

// cli is the command line.
type cli struct {
	Run     runCmd     `cmd:"" default:"withargs" help:"Run the daemon in the foreground (the default)."`
	Check   checkCmd   `cmd:"" help:"Check the configuration and the files it names; print the effective values and where each comes from."`
	Demo    demoCmd    `cmd:"" help:"Show it all at work with a throw-away PKI and an upstream that demands a client certificate."`
	Version versionCmd `cmd:"" help:"Print the version."`
}

func (c *cli) options(w world, exit func(int)) []kong.Option {
	return []kong.Option{
		kong.Name("mtlsproxyd"),
		kong.Description(description),
		kong.Writers(w.stdout, w.stderr),
		kong.Exit(exit),
		kong.ConfigureHelp(kong.HelpOptions{WrapUpperBound: 100}),
		kong.Vars{"config": defaultConfig},
	}
}

// source is where the configuration comes from.
type source struct {
	Config string   `help:"Configuration file; its drop-ins are FILE.d/*.toml without the .toml. Default: ${config}, if it is there." placeholder:"FILE" type:"path" group:"Configuration"`
	Set    []string `help:"Set one value, such as upstream.billing.timeout.connect=5s. May be repeated." placeholder:"KEY=VALUE" sep:"none" group:"Configuration"`

	Listen     []string `help:"Address applications connect to: host:port or the path of a unix socket. May be repeated." placeholder:"ADDRESS" group:"One upstream without a file"`
	Upstream   string   `help:"Where requests go: https://host[:port]." placeholder:"URL" group:"One upstream without a file"`
	Cert       string   `help:"Client certificate in PEM: the leaf first, then intermediates." placeholder:"FILE" group:"One upstream without a file"`
	Key        string   `help:"Its private key in PEM, not readable by others." placeholder:"FILE" group:"One upstream without a file"`
	CA         string   `name:"ca" help:"Trust anchors for the upstream in PEM, or the word system." placeholder:"FILE" group:"One upstream without a file"`
	ServerName string   `help:"Name the upstream's certificate must carry. Default: the host of --upstream." placeholder:"NAME" group:"One upstream without a file"`
}

// load reads the configuration from all its layers.
func (s *source) load(w world) (*config.Config, error) {
	o := config.Options{File: s.Config, Env: w.env, Set: s.Set, Dir: w.dir}
	one := config.OneUpstream{Listen: s.Listen, Upstream: s.Upstream, Cert: s.Cert, Key: s.Key, CA: s.CA, ServerName: s.ServerName}
	if len(one.Listen) > 0 || one.Upstream+one.Cert+one.Key+one.CA+one.ServerName != "" {
		o.One = &one
	}
	if o.File == "" && s.Upstream == "" {
		o.File, o.Optional = defaultConfig, true
	}
	return config.Load(o)
}

// lines splits an error into the things that are wrong.
func lines(err error) []string {
	text := strings.TrimPrefix(err.Error(), service.ErrConfig.Error()+"\n")
	return strings.Split(strings.TrimSpace(text), "\n")
}

// say writes for a person. There is nobody to tell if that fails.
func say(w io.Writer, text string) { _, _ = io.WriteString(w, text) }

var errNoUpstream = errors.New("the configuration has no route; give --upstream with --cert, --key and --ca, or write " + defaultConfig)
