package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/mtlsproxy/mtlsproxy/packaging/systemtest/load"
	"github.com/mtlsproxy/mtlsproxy/packaging/systemtest/machine"
	"github.com/mtlsproxy/mtlsproxy/packaging/systemtest/upstream"
)

// Where the machine sees this program and the packages.
const (
	selfPath = "/opt/systemtest"
	debPath  = "/opt/mtlsproxy.deb"
	rpmPath  = "/opt/mtlsproxy.rpm"
)

// trial is one scenario on one machine. What is wrong is gathered; fatal ends the
// scenario at once.
type trial struct {
	ctx     context.Context // it bounds the scenario, as that of a testing.T does
	m       *machine.Machine
	release machine.Release
	deb     string
	ca      *upstream.Authority

	wrong, numbers []string
	log            *strings.Builder
	told           io.Writer // the log as it is written; may be nil
	running        []*machine.Process
}

// fatal is what a trial panics with to end its scenario.
type fatal struct{}

func (t *trial) play(ctx context.Context, scenario func(*trial)) {
	ctx, cancel := context.WithTimeoutCause(ctx, perScenario, fmt.Errorf("the scenario took longer than %v", perScenario))
	defer cancel()
	t.ctx = ctx
	defer func() {
		if p := recover(); p != nil {
			if _, ours := p.(fatal); !ours {
				panic(p)
			}
			t.post()
		}
		t.endAll()
	}()
	scenario(t)
	if len(t.wrong) > 0 {
		t.post()
	}
}

// endAll ends what was started in the background, and waits for it: a machine is not off
// while somebody has not been waited for.
func (t *trial) endAll() {
	for _, p := range t.running {
		p.End()
	}
	for _, p := range t.running {
		_, _ = io.Copy(io.Discard, p.Stdout)
		_ = p.Wait() // how it ended was of interest to whoever needed it
	}
}

// post adds to the log what a person would look at first.
func (t *trial) post() {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(t.ctx), 10*time.Second)
	defer cancel()
	r, err := t.m.Run(ctx, "sh", "-c", "systemctl status --lines=0 --full 'mtlsproxy*'; journalctl --no-hostname --output=short-monotonic --lines=30 _SYSTEMD_UNIT=mtlsproxy.service + UNIT=mtlsproxy.service + UNIT=mtlsproxy.socket + UNIT=mtlsproxy-admin.socket")
	t.logf("-- how it stands\n%s%s%v\n-- end of %s\n", r.Stdout, r.Stderr, err, t.m.Name)
}

func (t *trial) logf(format string, args ...any) {
	fmt.Fprintf(t.log, format, args...)
	if t.told != nil {
		fmt.Fprintf(t.told, format, args...)
	}
}

// errorf notes what is wrong and goes on.
func (t *trial) errorf(format string, args ...any) {
	t.wrong = append(t.wrong, fmt.Sprintf(format, args...))
	t.logf("WRONG "+format+"\n", args...)
}

// fatalf notes what is wrong and ends the scenario.
func (t *trial) fatalf(format string, args ...any) {
	t.errorf(format, args...)
	panic(fatal{})
}

// notef keeps a number for the report.
func (t *trial) notef(format string, args ...any) {
	t.numbers = append(t.numbers, fmt.Sprintf(format, args...))
}

// run runs a command, however it ends.
func (t *trial) run(name string, args ...string) machine.Result {
	begun := time.Now()
	r, err := t.m.Run(t.ctx, name, args...)
	t.logf("%% %s %s\n%s%s", name, strings.Join(args, " "), r.Stdout, r.Stderr)
	t.logf("= %d after %.2f s\n", r.Code, time.Since(begun).Seconds())
	if err != nil {
		t.fatalf("%s %s: %v", name, strings.Join(args, " "), err)
	}
	return r
}

// must runs a command that must work, and returns its standard output.
func (t *trial) must(name string, args ...string) string {
	r := t.run(name, args...)
	if r.Code != 0 {
		t.fatalf("%s %s: exit code %d: %s%s", name, strings.Join(args, " "), r.Code, r.Stdout, r.Stderr)
	}
	return strings.TrimSpace(r.Stdout)
}

// sh runs a script that must work.
func (t *trial) sh(script string) string { return t.must("sh", "-euc", script) }

// eventually waits until something holds.
func (t *trial) eventually(within time.Duration, what string, holds func() bool) {
	deadline := time.Now().Add(within)
	for !holds() {
		if time.Now().After(deadline) {
			t.fatalf("not within %v: %s", within, what)
		}
		t.pass(100 * time.Millisecond)
	}
}

// pass lets time pass, for a load to go on.
func (t *trial) pass(d time.Duration) {
	select {
	case <-time.After(d):
	case <-t.ctx.Done():
		t.fatalf("%v", context.Cause(t.ctx))
	}
}

// write puts a file into the machine; its directory need not be there.
func (t *trial) write(path, content string) { t.writeMode(path, content, 0o644) }

// background starts a role of this program inside the machine, and waits until it is
// up. What it writes from then on can be read.
func (t *trial) background(role string, args ...string) (*machine.Process, *bufio.Reader) {
	p, err := t.m.Start(t.ctx, selfPath, append([]string{role}, args...)...)
	if err != nil {
		t.fatalf("starting the %s: %v", role, err)
	}
	t.running = append(t.running, p)
	out := bufio.NewReader(p.Stdout)
	if line, err := out.ReadString('\n'); err != nil || line != upLine {
		t.fatalf("the %s did not come up: %q, %v, %v", role, line, err, p.Wait())
	}
	return p, out
}

// loading is a load that goes on.
type loading struct {
	t   *trial
	p   *machine.Process
	out *bufio.Reader
}

// load starts a load. Every client has had its first answer when it returns.
func (t *trial) load(o load.Options) *loading {
	if o.Patience == 0 {
		o.Patience = 30 * time.Second
	}
	if o.Path == "" {
		o.Path = "/"
	}
	text, err := json.Marshal(o)
	if err != nil {
		t.fatalf("%v", err)
	}
	p, out := t.background("load", string(text))
	return &loading{t: t, p: p, out: out}
}

// end ends the load and returns its count.
func (l *loading) end() load.Count {
	l.p.End()
	var c load.Count
	text, err := io.ReadAll(l.out)
	if err == nil {
		err = json.Unmarshal(text, &c)
	}
	if waited := l.p.Wait(); err != nil || waited != nil {
		l.t.fatalf("the load left no count: %q, %v, %v", text, err, waited)
	}
	l.t.logf("load: %s", text)
	return c
}
