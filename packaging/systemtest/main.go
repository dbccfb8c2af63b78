// Command systemtest installs the Debian package on whole Debian systems, booted in
// containers, and watches a real systemd deal with it: starts in every order,
// restarts and upgrades under load, crashes, reloads, stops and removal.
//
//	CGO_ENABLED=0 go run ./packaging/systemtest -deb FILE [-rpm FILE] [-release debian12] [-run REGEXP] [-tries N] [-v]
//
// It needs root and what package machine needs, and says SKIP with the reason where
// that is not there. Every scenario has a machine of its own, so that each can run
// alone. The program runs inside the machines too, as the upstream and as the load;
// without cgo, so that it runs beside any libc.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"regexp"
	"syscall"
	"time"

	"github.com/mtlsproxy/mtlsproxy/packaging/systemtest/machine"
)

func main() {
	os.Exit(run(os.Args[1:], os.Stdin, os.Stdout, os.Stderr))
}

// options are the command line.
type options struct {
	deb     string
	rpm     string // "": what needs it is skipped
	cache   string
	mirror  string
	require bool
	release string
	only    *regexp.Regexp
	verbose bool
	list    bool
	can     bool          // only tell whether the test can run
	tries   int           // for one scenario
	whole   time.Duration // for everything
}

// run returns the exit code.
func run(args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	if len(args) > 0 {
		if play, ok := roles[args[0]]; ok {
			return ended(play(args[1:], stdin, stdout), stderr)
		}
	}
	o, err := parse(args, stderr)
	switch {
	case errors.Is(err, flag.ErrHelp):
		return 0
	case err != nil:
		fmt.Fprintln(stderr, "systemtest:", err)
		return 2
	case o.list:
		for _, s := range scenarios {
			fmt.Fprintf(stdout, "%-22s %s\n", s.name, s.says)
		}
		return 0
	}
	if err := machine.Missing(); err != nil {
		return o.skip(err, stdout, stderr)
	}
	if o.can {
		return 0
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	ctx, cancel := context.WithTimeoutCause(ctx, o.whole, fmt.Errorf("the system test took longer than %v", o.whole))
	defer cancel()
	err = o.run(ctx, stdout)
	if errors.Is(err, errNoRoot) {
		return o.skip(err, stdout, stderr)
	}
	return ended(err, stderr)
}

// skip says why the test cannot run here.
func (o *options) skip(why error, stdout, stderr io.Writer) int {
	if o.require {
		return ended(why, stderr)
	}
	fmt.Fprintln(stdout, "SKIP the system test:", why)
	if o.can {
		return 1
	}
	return 0
}

func ended(err error, stderr io.Writer) int {
	if err != nil {
		fmt.Fprintln(stderr, "systemtest:", err)
		return 1
	}
	return 0
}

func parse(args []string, stderr io.Writer) (*options, error) {
	o := &options{only: regexp.MustCompile("")}
	flags := flag.NewFlagSet("systemtest", flag.ContinueOnError)
	flags.SetOutput(stderr)
	flags.StringVar(&o.deb, "deb", "", "`file`: the package to test")
	flags.StringVar(&o.rpm, "rpm", "", "`file`: the RPM package to test; without it, scenarios that need it are skipped")
	flags.StringVar(&o.cache, "cache", "/var/cache/mtlsproxy-systemtest", "`directory` where the roots of the machines are kept")
	flags.StringVar(&o.mirror, "mirror", "", "`URL` of Debian's packages; default: that in the apt sources of this host")
	flags.BoolVar(&o.require, "require", false, "fail where the test cannot run, rather than skip it")
	flags.StringVar(&o.release, "release", "", "run on this release only: debian12 or debian13")
	flags.BoolVar(&o.verbose, "v", false, "tell every command and how it ended, not only of what failed")
	flags.IntVar(&o.tries, "tries", 1, "play a scenario that failed again, on a new machine, up to so many times in all; the summary tells which")
	flags.BoolVar(&o.can, "can", false, "only tell whether the test can run here: exit with 0 if it can")
	flags.BoolVar(&o.list, "list", false, "list the scenarios")
	flags.DurationVar(&o.whole, "timeout", 30*time.Minute, "how long everything may take")
	flags.Func("run", "run only scenarios whose name matches this `regexp`", func(text string) (err error) {
		o.only, err = regexp.Compile(text)
		return err
	})
	if err := flags.Parse(args); err != nil {
		return nil, err
	}
	if flags.NArg() > 0 {
		return nil, fmt.Errorf("%q is too much; -h shows what there is", flags.Arg(0))
	}
	if o.list || o.can {
		return o, nil
	}
	if o.tries < 1 {
		return nil, fmt.Errorf("-tries %d: a scenario is played at least once", o.tries)
	}
	if o.deb == "" {
		return nil, errors.New("-deb FILE says what to test; make deb builds it")
	}
	if o.require && o.rpm == "" {
		return nil, errors.New("-require wants every scenario, and some need -rpm FILE; make rpm builds it")
	}
	if o.release != "" && o.release != machine.Debian12.Name && o.release != machine.Debian13.Name {
		return nil, fmt.Errorf("-release %q is neither %s nor %s", o.release, machine.Debian12.Name, machine.Debian13.Name)
	}
	for _, file := range []*string{&o.deb, &o.rpm} {
		if *file == "" {
			continue
		}
		if _, err := os.Stat(*file); err != nil {
			return nil, err
		}
		var err error
		if *file, err = filepath.Abs(*file); err != nil {
			return nil, err
		}
	}
	return o, nil
}
