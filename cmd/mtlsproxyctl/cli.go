package main

import (
	"fmt"
	"strings"
	"time"

	"github.com/alecthomas/kong"
)

const description = `Shows and steers mtlsproxyd over its admin socket.

  mtlsproxyctl status                      is it serving, and what is wrong
  mtlsproxyctl top                         what it does just now
  mtlsproxyctl log --status 5xx --from 1h  the requests that failed
  mtlsproxyctl reload                      load configuration and certificates again

With --json, standard output is JSON and nothing else: one value, or one value per
line from what streams. An error then is the last value, {"error": {"class": …,
"message": …, "details": …, "hint": …}}, in place of text on standard error; only
wrong usage is always told there.

Exit codes: 0 ok, 1 failed, 2 wrong usage, 3 no daemon answers, 4 not permitted,
130 interrupted. Ctrl-C is how what runs until then ends, with 0.`

// cli is the command line.
type cli struct {
	Globals globals `embed:"" group:"Common flags:"`

	Status      statusCmd      `cmd:"" help:"Say whether it serves, for whom, with which certificate until when, and what is wrong."`
	Top         topCmd         `cmd:"" help:"Show rates, latencies, connections and last errors, live."`
	Routes      routesCmd      `cmd:"" help:"List the routes, and what they carried."`
	Upstreams   upstreamsCmd   `cmd:"" help:"List the upstreams with their endpoints and connections."`
	Certs       certsCmd       `cmd:"" help:"List the identities with their certificates, and put new ones in place."`
	Log         logCmd         `cmd:"" help:"Read the request log."`
	Events      eventsCmd      `cmd:"" help:"Show what changed, failed or was ordered lately."`
	Connections connectionsCmd `cmd:"" help:"List the connections of clients."`
	Limits      limitsCmd      `cmd:"" help:"List the limits, their use, and what they refused."`
	Reload      reloadCmd      `cmd:"" help:"Load the configuration and the certificates again."`
	Check       checkCmd       `cmd:"" help:"Say whether a reload would work, and what it would change."`
	Drain       drainCmd       `cmd:"" help:"Keep new exchanges away from an upstream or an endpoint."`
	Resume      resumeCmd      `cmd:"" help:"Undo drain."`
	Breaker     breakerCmd     `cmd:"" help:"Steer the breakers."`
	Level       levelCmd       `cmd:"" help:"Show or set the least severe level of events that is logged."`
	Metrics     metricsCmd     `cmd:"" help:"Print the metrics in the Prometheus text format."`
	Version     versionCmd     `cmd:"" help:"Print the version of both sides."`
	Completion  completionCmd  `cmd:"" help:"Print a script that completes arguments in a shell."`
	Words       wordsCmd       `cmd:"" hidden:"" name:"complete-words" help:"Print what may come next, for the scripts of completion." passthrough:""`

	ShowVersion kong.VersionFlag `name:"version" help:"Print the version of mtlsproxyctl alone." group:"Common flags:"`
}

// globals are the flags of every command.
type globals struct {
	Socket  string        `help:"Admin socket of the daemon. Default: MTLSPROXY_ADMIN_SOCKET, or where this user's and the system's daemon have it." placeholder:"PATH"`
	JSON    bool          `name:"json" help:"Print JSON."`
	Quiet   bool          `short:"q" help:"Print nothing but errors."`
	NoColor bool          `help:"Print no colours, as without a terminal or with NO_COLOR set."`
	Timeout time.Duration `help:"How long an answer may take; no bound for what streams or repeats." default:"10s" placeholder:"10s"`
}

func (c *cli) options(w world, exit func(int)) []kong.Option {
	return []kong.Option{
		kong.Name("mtlsproxyctl"),
		kong.Description(description),
		kong.Writers(w.stdout, w.stderr),
		kong.Exit(exit),
		kong.ConfigureHelp(kong.HelpOptions{WrapUpperBound: 100, Compact: true, NoExpandSubcommands: true}),
		kong.Vars{"version": versionLine()},
	}
}

// watched is for commands that can repeat what they show.
type watched struct {
	Watch every `help:"Show it again and again, every two seconds or as often as given, until Ctrl-C." placeholder:"2s"`
}

// every is how often something is repeated; zero: not at all. Its flag may stand
// without a value.
type every time.Duration

const (
	usualEvery    = 2 * time.Second
	shortestEvery = 100 * time.Millisecond
)

// IsBool tells the parser that no value need follow.
func (every) IsBool() bool { return true }

// Decode implements kong.MapperValue.
func (e *every) Decode(ctx *kong.DecodeContext) error {
	*e = every(usualEvery)
	if ctx.Scan.Peek().Type != kong.FlagValueToken {
		return nil
	}
	text := ctx.Scan.Pop().String()
	d, err := time.ParseDuration(text)
	if err != nil || d < shortestEvery {
		return fmt.Errorf("not a time of %v or longer (got %q, want 2s or 500ms)", shortestEvery, text)
	}
	*e = every(d)
	return nil
}

// split takes UPSTREAM[/ENDPOINT] apart.
func split(target string) (upstream, endpoint string, err error) {
	upstream, endpoint, cut := strings.Cut(target, "/")
	if upstream == "" || cut && endpoint == "" {
		return "", "", usageError{fmt.Sprintf("not an upstream or an endpoint of one (got %q, want billing or billing/10.0.0.1:8443)", target)}
	}
	return upstream, endpoint, nil
}
