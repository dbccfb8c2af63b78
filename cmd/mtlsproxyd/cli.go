package main

import (
	"errors"
	"io"
	"slices"

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

See it at work, with certificates made for the occasion:

  mtlsproxyd demo

One upstream needs no configuration file ("mtlsproxyd run --help" has all flags):

  mtlsproxyd --listen 127.0.0.1:8980 --upstream https://api.internal:8443 \
             --cert client.crt --key client.key --ca ca.crt
  curl http://127.0.0.1:8980/

More than one, or other limits, need one:

  mtlsproxyd check --config /etc/mtlsproxy/mtlsproxy.toml
  mtlsproxyd --config /etc/mtlsproxy/mtlsproxy.toml`

// usage replaces the line that kong makes, which knows of no default command.
const usage = `Usage: mtlsproxyd [run] [flags]
       mtlsproxyd check|demo|version [flags]
`

// cli is the command line.
type cli struct {
	Run     runCmd     `cmd:"" default:"withargs" help:"Run the daemon in the foreground. This is the default command."`
	Check   checkCmd   `cmd:"" help:"Check the configuration and the files it names, and print every value in effect."`
	Demo    demoCmd    `cmd:"" help:"Show it all at work with certificates and an upstream made for the occasion."`
	Version versionCmd `cmd:"" help:"Print the version."`

	ShowVersion kong.VersionFlag `name:"version" help:"Print the version."`
}

func (c *cli) options(w world, exit func(int)) []kong.Option {
	return []kong.Option{
		kong.Name("mtlsproxyd"),
		kong.Description(description),
		kong.Writers(w.stdout, w.stderr),
		kong.Exit(exit),
		kong.ConfigureHelp(kong.HelpOptions{WrapUpperBound: 100}),
		kong.Help(help),
		kong.Vars{"config": defaultConfig, "version": versionLine()},
	}
}

func help(o kong.HelpOptions, ctx *kong.Context) error {
	if ctx.Selected() == nil {
		o.NoAppSummary = true
		say(ctx.Stdout, usage)
	}
	return kong.DefaultHelpPrinter(o, ctx)
}

// source is where the configuration comes from.
type source struct {
	Config string   `help:"Configuration file. Its drop-ins, read after it in the order of their names, are the *.toml files in a directory beside it: x.d for x.toml. Default: ${config}, if it is there." placeholder:"FILE" type:"path" group:"Configuration:"`
	Set    []string `help:"Set one value, such as upstream.billing.timeout.connect=5s. May be repeated." placeholder:"KEY=VALUE" sep:"none" group:"Configuration:"`

	Listen     []string `help:"Address for the applications: host:port, or the path of a unix socket. May be repeated." placeholder:"ADDRESS" group:"One upstream without a file:"`
	Upstream   string   `help:"Where requests go: https://host[:port]. Every local user may send them." placeholder:"URL" group:"One upstream without a file:"`
	Cert       string   `help:"Client certificate in PEM: the leaf first, then intermediates." placeholder:"FILE" group:"One upstream without a file:"`
	Key        string   `help:"Its private key in PEM; mode 0640 or 0600." placeholder:"FILE" group:"One upstream without a file:"`
	CA         string   `name:"ca" help:"Trust anchors for the upstream in PEM; or the word system, for those of the host." placeholder:"FILE" group:"One upstream without a file:"`
	ServerName string   `help:"Name that the upstream's certificate must carry. Default: the host of --upstream." placeholder:"NAME" group:"One upstream without a file:"`
}

// load reads the configuration from all its layers.
func (s *source) load(w world) (*config.Config, error) {
	o := config.Options{File: s.Config, Env: w.env, Set: s.Set, Dir: w.dir}
	one := config.OneUpstream{Listen: s.Listen, Upstream: s.Upstream, Cert: s.Cert, Key: s.Key, CA: s.CA, ServerName: s.ServerName}
	if len(one.Listen) > 0 || one.Upstream+one.Cert+one.Key+one.CA+one.ServerName != "" {
		o.One = &one
	}
	if o.File == "" {
		o.File, o.Optional = s.file(), true
	}
	return config.Load(o)
}

// loadComplete is load, with an error if nobody could be served. A daemon that was
// given its sockets is up without a route as well: it answers that there is none.
func (s *source) loadComplete(w world, passed bool) (*config.Config, error) {
	c, err := s.load(w)
	if err != nil || passed {
		return c, err
	}
	missing := lacks(c)
	if s.Config != "" { // whoever names a file may write the routes later: until then it answers 503
		missing = slices.DeleteFunc(missing, func(err error) bool { return errors.Is(err, errNoRoute) })
	}
	if len(missing) > 0 {
		return nil, errors.Join(append([]error{service.ErrConfig}, missing...)...)
	}
	return c, nil
}

// file is the main configuration file, or "" if there is none.
func (s *source) file() string {
	if s.Config == "" && s.Upstream == "" {
		return defaultConfig
	}
	return s.Config
}

// lacks tells what a configuration lacks to serve anybody by itself.
func lacks(c *config.Config) []error {
	var missing []error
	if len(c.Routes) == 0 {
		missing = append(missing, errNoRoute)
	}
	if len(c.Listeners) == 0 {
		missing = append(missing, errNoListener)
	}
	return missing
}

var (
	errNoRoute    = errors.New("there is no route, so there is nothing to forward; give --upstream with --cert, --key and --ca, or write " + defaultConfig)
	errNoListener = errors.New("there is no listener, so nobody can connect; give --listen 127.0.0.1:8980, or write [listener.http] into the configuration")
)

// say writes for a person. There is nobody to tell if that fails.
func say(w io.Writer, text string) { _, _ = io.WriteString(w, text) }
