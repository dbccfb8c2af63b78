package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Sections of a run, in the order in which they run.
const (
	sectionSmall  = "small"
	sectionRate   = "rate"
	sectionBulk   = "bulk"
	sectionIdle   = "idle"
	sectionLog    = "log"
	sectionLimits = "limits"
)

// defaultOut is where a full run leaves its results, seen from the top of the repository.
const defaultOut = "contrib/bench"

// options is the command line, checked.
type options struct {
	mtlsproxyd string
	daemonArgs []string
	binaries   []binary
	peers      []string
	only       []string
	threads    []int
	rounds     int
	duration   time.Duration
	conns      int
	bulkMiB    int
	idle       int
	quick      bool
	out        string // empty: write no files
	notes      string
	profile    string
}

// binary is a build of mtlsproxyd under a name of its own.
type binary struct{ name, path string }

func (o options) selected(section string) bool { return slices.Contains(o.only, section) }

func parseOptions(args []string, stderr io.Writer) (options, error) {
	o := options{}
	f := flag.NewFlagSet("bench", flag.ContinueOnError)
	f.SetOutput(stderr)
	f.StringVar(&o.mtlsproxyd, "mtlsproxyd", "bin/mtlsproxyd", "`file` of the daemon")
	daemonArgs := f.String("daemon-args", "", "more arguments for every build of mtlsproxyd, separated by blanks")
	f.Func("binary", "another build of mtlsproxyd to compare, as `name=file` (repeatable)", o.addBinary)
	peers := f.String("peers", "nginx,haproxy,mtlsproxy", "what to compare")
	only := f.String("only", "small,rate,bulk,idle,log,limits", "sections to run")
	threads := f.String("n", "1,2", "numbers of workers, threads, GOMAXPROCS")
	f.IntVar(&o.rounds, "rounds", 5, "rounds per section")
	f.DurationVar(&o.duration, "duration", 4*time.Second, "time per round of small requests")
	f.IntVar(&o.conns, "conns", 64, "connections with small requests")
	f.IntVar(&o.bulkMiB, "bulk", 1024, "`MiB` moved per round and direction")
	f.IntVar(&o.idle, "idle", 10000, "idle `connections`")
	f.BoolVar(&o.quick, "quick", false, "smoke test: 1 round of 1 s, 256 MiB, 1000 idle connections")
	f.StringVar(&o.out, "out", "", "`directory` for RESULTS.md and results.svg (default "+defaultOut+" after a full run, else none)")
	f.StringVar(&o.notes, "notes", defaultOut+"/NOTES.md", "`file` to include in RESULTS.md")
	f.StringVar(&o.profile, "profile", "", "measure nothing: load mtlsproxyd alone and have it write a CPU profile to `file`")
	if err := f.Parse(args); err != nil {
		return options{}, err
	}
	if f.NArg() > 0 {
		return options{}, fmt.Errorf("unexpected argument %q", f.Arg(0))
	}
	o.daemonArgs = strings.Fields(*daemonArgs)
	o.peers, o.only = splitList(*peers), splitList(*only)
	var err error
	if o.threads, err = parseInts(*threads); err != nil {
		return options{}, fmt.Errorf("-n: %w", err)
	}
	var given []string
	f.Visit(func(g *flag.Flag) { given = append(given, g.Name) })
	o.complete(given)
	return o, o.check()
}

// complete sets what depends on which flags were given: -quick is only a set of other
// defaults, and nothing but a full run may overwrite the published results unasked.
func (o *options) complete(given []string) {
	if o.quick {
		setDefault(given, "rounds", &o.rounds, 1)
		setDefault(given, "duration", &o.duration, time.Second)
		setDefault(given, "bulk", &o.bulkMiB, 256)
		setDefault(given, "idle", &o.idle, 1000)
	}
	harmless := []string{"mtlsproxyd", "daemon-args", "out", "notes"}
	partial := slices.ContainsFunc(given, func(name string) bool { return !slices.Contains(harmless, name) })
	if o.out == "" && !partial {
		o.out = defaultOut
	}
}

func setDefault[T any](given []string, name string, option *T, value T) {
	if !slices.Contains(given, name) {
		*option = value
	}
}

// addBinary makes the path absolute, since children run in the temporary directory.
func (o *options) addBinary(value string) error {
	name, path, ok := strings.Cut(value, "=")
	if !ok || name == "" || path == "" {
		return fmt.Errorf("want name=file, got %q", value)
	}
	path, err := filepath.Abs(path)
	if err != nil {
		return err
	}
	o.binaries = append(o.binaries, binary{name, path})
	return nil
}

func (o options) check() error {
	if err := allKnown("-peers", o.peers, "nginx", "haproxy", "mtlsproxy"); err != nil {
		return err
	}
	if err := allKnown("-only", o.only, sectionSmall, sectionRate, sectionBulk, sectionIdle, sectionLog, sectionLimits); err != nil {
		return err
	}
	names := slices.Clone(o.peers)
	for _, b := range o.binaries {
		if slices.Contains(append(names, "upstream"), b.name) || strings.ContainsAny(b.name, "/ ") {
			return fmt.Errorf("-binary: the name %q is taken or not usable", b.name)
		}
		names = append(names, b.name)
	}
	for _, n := range o.threads {
		if n < 1 || n > 64 {
			return fmt.Errorf("-n: %d is not between 1 and 64", n)
		}
	}
	switch {
	case len(o.threads) == 0 || len(o.only) == 0:
		return errors.New("-n, -only: nothing to run")
	case o.rounds < 1 || o.rounds > 100:
		return fmt.Errorf("-rounds: %d is not between 1 and 100", o.rounds)
	case o.duration < 100*time.Millisecond || o.duration > 10*time.Minute:
		return fmt.Errorf("-duration: %v is not between 100ms and 10m", o.duration)
	case o.conns < 1 || o.conns > 4096:
		return fmt.Errorf("-conns: %d is not between 1 and 4096", o.conns)
	case o.bulkMiB < 1 || o.bulkMiB > 16<<10:
		return fmt.Errorf("-bulk: %d is not between 1 and 16384", o.bulkMiB)
	case o.idle < 1 || o.idle > 200000:
		return fmt.Errorf("-idle: %d is not between 1 and 200000", o.idle)
	}
	return nil
}

func allKnown(flagName string, got []string, known ...string) error {
	for _, name := range got {
		if !slices.Contains(known, name) {
			return fmt.Errorf("%s: unknown %q (want some of %s)", flagName, name, strings.Join(known, ","))
		}
	}
	return nil
}

// splitList reads a comma-separated list; the empty string is the empty list.
func splitList(s string) []string {
	return strings.FieldsFunc(s, func(r rune) bool { return r == ',' })
}

func parseInts(s string) ([]int, error) {
	var numbers []int
	for _, word := range splitList(s) {
		n, err := strconv.Atoi(word)
		if err != nil {
			return nil, err
		}
		numbers = append(numbers, n)
	}
	return numbers, nil
}
