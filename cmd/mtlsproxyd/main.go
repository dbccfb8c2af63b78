// Command mtlsproxyd lends client certificates to local applications: they speak
// plain HTTP to a local socket, and it forwards over pooled mutual TLS.
package main

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"slices"
	"strings"

	"github.com/alecthomas/kong"

	"github.com/mtlsproxy/mtlsproxy/service"
	"github.com/mtlsproxy/mtlsproxy/service/config"
)

// Exit codes, from sysexits.h; systemd shows them by name.
const (
	exitOK          = 0
	exitFailed      = 1
	exitUsage       = 64
	exitUnavailable = 69
	exitInternal    = 70
	exitPermission  = 77
	exitConfig      = 78
)

func main() {
	wd, err := os.Getwd()
	if err != nil {
		wd = "/"
	}
	os.Exit(run(os.Args[1:], world{env: os.Environ(), dir: wd, stdout: os.Stdout, stderr: os.Stderr, unit: systemUnit}))
}

// world is what a command sees of the outside.
type world struct {
	env            []string
	dir            string // the working directory
	stdout, stderr io.Writer
	unit           func(config string) *unit // the service that runs with it; nil: there is none
}

// getenv is os.Getenv in this world.
func (w world) getenv(name string) string {
	for _, pair := range slices.Backward(w.env) {
		if value, ok := strings.CutPrefix(pair, name+"="); ok {
			return value
		}
	}
	return ""
}

// run parses the arguments, runs the command they name and returns its exit code.
func run(args []string, w world) int {
	var c cli
	code := -1
	parser, err := kong.New(&c, c.options(w, func(n int) { code = n })...)
	if err != nil {
		panic("BUG: " + err.Error()) // the command line's own definition is wrong
	}
	ctx, err := parser.Parse(args)
	if code >= 0 { // help was asked for and given
		return code
	}
	if err != nil {
		misused(w.stderr, err)
		return exitUsage
	}
	if err := ctx.Run(w); err != nil {
		report(w.stderr, err)
		return exitCode(err)
	}
	return exitOK
}

// misused tells what is wrong with the arguments, and where the right ones stand.
func misused(w io.Writer, err error) {
	say(w, "mtlsproxyd: "+err.Error()+"\n")
	where := "mtlsproxyd --help shows the commands, mtlsproxyd run --help the flags"
	if parse, ok := errors.AsType[*kong.ParseError](err); ok {
		if command := parse.Context.Selected(); command != nil && command.Name != "run" {
			where = "mtlsproxyd " + command.Name + " --help shows the flags"
		}
	}
	say(w, "hint: "+where+"\n")
}

// errFailed ends a command whose output has said what is wrong already.
var errFailed = errors.New("failed")

func exitCode(err error) int {
	var bad *config.Errors
	switch {
	case errors.Is(err, errFailed):
		return exitFailed
	case errors.As(err, &bad), errors.Is(err, service.ErrConfig):
		return exitConfig
	case errors.Is(err, fs.ErrPermission):
		return exitPermission
	case errors.Is(err, service.ErrListen):
		return exitUnavailable
	}
	return exitInternal
}

// report prints an error, one line for each thing that is wrong.
func report(w io.Writer, err error) {
	var told quiet
	if errors.Is(err, errFailed) || errors.As(err, &told) {
		return
	}
	for _, line := range service.Lines(err) {
		say(w, "mtlsproxyd: "+line+"\n")
	}
	if errors.Is(err, errNoRoute) {
		say(w, "hint: mtlsproxyd demo shows it at work, mtlsproxyd --help what it takes\n")
	}
}
