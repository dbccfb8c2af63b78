package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/mtlsproxy/mtlsproxy/packaging/systemtest/machine"
)

// scenario is one thing that must hold.
type scenario struct {
	name, says string
	play       func(*trial)
	since      string // the first release where it can be; "" for all
	rpm        bool   // it needs the RPM package
}

// perScenario bounds one scenario, without boot and end of its machine.
const perScenario = 3 * time.Minute

// outcome is how a scenario went.
type outcome struct {
	release, name string
	wrong         []string
	numbers       []string
	took          time.Duration
	try, tries    int // which of how many; a scenario is tried again if it failed
}

// errNoRoot means that there is no system to test on.
var errNoRoot = errors.New("there is no root to boot from")

func (o *options) run(ctx context.Context, w io.Writer) error {
	var outcomes []outcome
	var missing error // why there was none to test on
	for _, release := range []machine.Release{machine.Debian12, machine.Debian13} {
		if o.release != "" && o.release != release.Name {
			continue
		}
		done, err := o.runOn(ctx, w, release)
		outcomes = append(outcomes, done...)
		switch {
		case errors.Is(err, errNoRoot) && !o.require:
			fmt.Fprintf(w, "SKIP %s: %v\n", release.Name, err)
			missing = err
		case err != nil:
			return errors.Join(err, summary(w, outcomes))
		}
	}
	if len(outcomes) == 0 && missing != nil {
		return missing
	}
	return summary(w, outcomes)
}

// runOn runs the scenarios on one release, one after the other: two at a time would
// disturb what they measure.
func (o *options) runOn(ctx context.Context, w io.Writer, release machine.Release) (done []outcome, err error) {
	fmt.Fprintf(w, "%s: opening its root in %s; the first time, this takes a minute\n", release.Name, o.cache)
	cache := machine.Cache{Dir: o.cache, Mirror: o.mirror, Log: io.Discard}
	if o.verbose {
		cache.Log = w
	}
	root, err := cache.Open(ctx, release)
	if err != nil {
		return nil, errors.Join(errNoRoot, err)
	}
	defer func() { err = errors.Join(err, root.Close()) }()
	for _, s := range scenarios {
		if !o.only.MatchString(s.name) || s.since > release.Name {
			continue
		}
		if s.rpm && o.rpm == "" {
			fmt.Fprintf(w, "SKIP %s %-22s -rpm FILE says what to test; make rpm builds it\n", release.Name, s.name)
			continue
		}
		if ctx.Err() != nil {
			return done, context.Cause(ctx)
		}
		done = append(done, again(ctx, o.tries, w, func() outcome { return o.one(ctx, w, root, s) }))
	}
	return done, nil
}

// again plays a scenario until it holds, as often as it may be tried, and tells of each
// try. The last one counts.
func again(ctx context.Context, tries int, w io.Writer, play func() outcome) outcome {
	for try := 1; ; try++ {
		result := play()
		result.try, result.tries = try, tries
		result.tell(w)
		if len(result.wrong) == 0 || try >= tries || ctx.Err() != nil {
			return result
		}
	}
}

// one boots a machine, plays a scenario on it and powers it off.
func (o *options) one(ctx context.Context, w io.Writer, root *machine.Root, s scenario) (result outcome) {
	begun := time.Now()
	result = outcome{release: root.Release.Name, name: s.name}
	t := &trial{deb: o.deb, release: root.Release, log: new(strings.Builder)}
	if o.verbose {
		t.told = w
	}
	defer func() {
		result.wrong, result.numbers, result.took = t.wrong, t.numbers, time.Since(begun)
		if len(t.wrong) > 0 && !o.verbose {
			_, _ = io.WriteString(w, t.log.String())
		}
	}()
	self, err := os.Executable()
	if err != nil {
		t.wrong = append(t.wrong, err.Error())
		return result
	}
	bind := map[string]string{selfPath: self, debPath: o.deb}
	if o.rpm != "" {
		bind[rpmPath] = o.rpm
	}
	t.m, err = machine.Boot(ctx, root, machine.Options{
		Name: fmt.Sprintf("mtlsproxy-%s-%d", s.name, os.Getpid()),
		Bind: bind,
	})
	if err != nil {
		t.wrong = append(t.wrong, err.Error())
		return result
	}
	t.play(ctx, s.play)
	if err := t.m.PowerOff(); err != nil {
		t.wrong = append(t.wrong, err.Error())
	}
	return result
}

func (o *outcome) word() string {
	switch {
	case len(o.wrong) > 0 && o.tries > 1:
		return fmt.Sprintf("FAIL at try %d of %d", o.try, o.tries)
	case len(o.wrong) > 0:
		return "FAIL"
	case o.try > 1:
		return fmt.Sprintf("ok at try %d", o.try)
	}
	return "ok"
}

func (o *outcome) tell(w io.Writer) {
	fmt.Fprintf(w, "%-4s %s %-22s %5.1f s  %s\n", o.word(), o.release, o.name, o.took.Seconds(), strings.Join(o.numbers, "; "))
	for _, wrong := range o.wrong {
		fmt.Fprintf(w, "     %s\n", strings.ReplaceAll(strings.TrimSpace(wrong), "\n", "\n       "))
	}
}

// summary prints a table with a column for each release.
func summary(w io.Writer, all []outcome) error {
	var releases, names []string
	cell := map[[2]string]string{}
	failed, late := 0, 0
	width := 12
	for _, o := range all {
		if !slices.Contains(releases, o.release) {
			releases = append(releases, o.release)
		}
		if !slices.Contains(names, o.name) {
			names = append(names, o.name)
		}
		text := fmt.Sprintf("%-4s %5.1f s", o.word(), o.took.Seconds())
		cell[[2]string{o.release, o.name}] = text
		width = max(width, len(text))
		switch {
		case len(o.wrong) > 0:
			failed++
		case o.try > 1:
			late++
		}
	}
	fmt.Fprintf(w, "\n%-22s", "scenario")
	for _, release := range releases {
		fmt.Fprintf(w, "  %-*s", width, release)
	}
	fmt.Fprintln(w)
	for _, name := range names {
		fmt.Fprintf(w, "%-22s", name)
		for _, release := range releases {
			fmt.Fprintf(w, "  %-*s", width, cell[[2]string{release, name}])
		}
		fmt.Fprintln(w)
	}
	switch {
	case len(all) == 0:
		return errors.New("no scenario was played; -list lists their names")
	case failed > 0:
		return fmt.Errorf("%d of %d scenarios failed", failed, len(all))
	case late > 0:
		fmt.Fprintf(w, "all %d scenarios hold, %d of them only when tried again\n", len(all), late)
		return nil
	}
	fmt.Fprintf(w, "all %d scenarios hold\n", len(all))
	return nil
}
