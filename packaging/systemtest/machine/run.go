package machine

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"strconv"
	"sync"
)

// Result is how a command ended.
type Result struct {
	Code           int // exit code; negative if a signal ended it
	Stdout, Stderr string
}

// Run runs a command inside the machine as root, and waits for it. Its own failure is
// in the result; an error means that it could not run, or that ctx ended first.
func (m *Machine) Run(ctx context.Context, name string, args ...string) (Result, error) {
	var out, errs bytes.Buffer
	cmd := m.command(ctx, name, args...)
	cmd.Stdout, cmd.Stderr = &out, &errs
	err := cmd.Run()
	return result(ctx, cmd, out.String(), errs.String(), err)
}

func result(ctx context.Context, cmd *exec.Cmd, out, errs string, err error) (Result, error) {
	r := Result{Stdout: out, Stderr: errs}
	if cmd.ProcessState != nil {
		r.Code = cmd.ProcessState.ExitCode()
	}
	if ctx.Err() != nil {
		return r, fmt.Errorf("%s: %w", cmd.Args[len(cmd.Args)-1], context.Cause(ctx))
	}
	if exit := (*exec.ExitError)(nil); errors.As(err, &exit) {
		return r, nil
	}
	return r, err
}

// command enters every namespace of the machine but that of users, which it has not.
func (m *Machine) command(ctx context.Context, name string, args ...string) *exec.Cmd {
	enter := []string{"-t", strconv.Itoa(m.leader), "-m", "-u", "-i", "-n", "-p", "-C", "--", name}
	cmd := exec.CommandContext(ctx, "nsenter", append(enter, args...)...)
	cmd.Dir = "/"
	cmd.Env = []string{
		"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOME=/root", "LANG=C.UTF-8",
		"DEBIAN_FRONTEND=noninteractive", "SYSTEMD_PAGER=", "SYSTEMD_COLORS=0", "NO_COLOR=1",
	}
	// Whoever holds its output open after it was killed is not waited for.
	cmd.WaitDelay = waitDelay
	return cmd
}

// Process is a command inside the machine that goes on while others run.
type Process struct {
	Stdout io.Reader
	stdin  io.Closer
	cmd    *exec.Cmd
	errs   *tail
	wait   func() error
}

// Start starts a command inside the machine as root. Whoever starts it waits for it.
func (m *Machine) Start(ctx context.Context, name string, args ...string) (*Process, error) {
	p := &Process{cmd: m.command(ctx, name, args...), errs: new(tail)}
	p.cmd.Stderr = p.errs
	in, err := p.cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	out, err := p.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	p.stdin, p.Stdout = in, out
	p.wait = sync.OnceValue(p.cmd.Wait)
	return p, p.cmd.Start()
}

// End closes the command's standard input, which is how it is told to end.
func (p *Process) End() { _ = p.stdin.Close() }

// Wait waits until the command has ended, and returns how, as often as it is asked.
// Standard output must have been read to its end before.
func (p *Process) Wait() error {
	if err := p.wait(); err != nil {
		return fmt.Errorf("%w: %s", err, p.errs)
	}
	return nil
}
