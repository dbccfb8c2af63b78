package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"syscall"
	"time"
)

// loadCommand is the hidden first argument that turns this program into a load generator:
// a process of its own, so that a proxy's CPU time is the proxy's alone.
const loadCommand = "__load"

// Kinds of load.
const (
	loadClosed   = "closed"   // each connection sends as soon as it has its answer
	loadOpen     = "open"     // requests leave at a constant rate, whatever the answers do
	loadDownload = "download" // big bodies towards the client
	loadUpload   = "upload"   // big bodies towards the upstream
	loadIdle     = "idle"     // many connections, one request each, then silence
)

// loadSpec tells a generator what to do.
type loadSpec struct {
	Kind     string
	Addr     string
	Conns    int
	Duration time.Duration // closed, open
	Rate     float64       // open: requests per second
	Requests int           // download, upload: per connection
	Size     int64         // upload: bytes per request
	CPUs     []int         // where to run; empty: anywhere
}

// loadResult is what a generator saw.
type loadResult struct {
	Requests int64
	Bytes    int64 // of bodies
	Elapsed  time.Duration
	P50      time.Duration
	P99      time.Duration
	P999     time.Duration
	Errors   int64
	First    string // the first error
}

// loadHooks run in the parent around the measured part, while the generator waits. They are
// told how many requests were answered since the hook before.
type loadHooks struct {
	before func(requests int64) error // warmed up, nothing in flight
	after  func(requests int64) error // everything answered, connections still open
}

// runLoad starts a generator and takes it through: warm up, before, load, after, end.
func runLoad(ctx context.Context, spec loadSpec, hooks loadHooks) (result loadResult, err error) {
	ctx, cancel := context.WithTimeout(ctx, spec.Duration+2*time.Minute)
	defer cancel()
	g, err := startGenerator(ctx, spec)
	if err != nil {
		return loadResult{}, err
	}
	defer func() {
		endErr := g.end()
		switch {
		case ctx.Err() != nil:
			err = ctx.Err() // and whatever failed, failed for this reason
		case err == nil && endErr != nil:
			err = fmt.Errorf("load generator: %w", endErr)
		}
	}()
	warmUp, err := g.expectReady()
	if err != nil {
		return loadResult{}, err
	}
	if err := hooks.before(warmUp); err != nil {
		return loadResult{}, err
	}
	if result, err = g.run(); err != nil {
		return loadResult{}, err
	}
	if result.Errors > 0 {
		return result, fmt.Errorf("%d failed beside %d good requests; the first: %s", result.Errors, result.Requests, result.First)
	}
	return result, hooks.after(result.Requests)
}

// generator is the parent's side of a load process. It is told to go by a line, and to end
// by the end of its input.
type generator struct {
	cmd   *exec.Cmd
	input io.WriteCloser
	lines *bufio.Reader
}

func startGenerator(ctx context.Context, spec loadSpec) (*generator, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, fmt.Errorf("finding myself: %w", err)
	}
	arg, err := json.Marshal(spec)
	if err != nil {
		return nil, fmt.Errorf("encoding load: %w", err)
	}
	cmd := exec.CommandContext(ctx, self, loadCommand, string(arg))
	cmd.Env = append(os.Environ(), "GOMAXPROCS=1")
	cmd.Stderr = os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	input, err := cmd.StdinPipe()
	if err != nil {
		return nil, fmt.Errorf("starting load generator: %w", err)
	}
	output, err := cmd.StdoutPipe()
	if err != nil {
		return nil, fmt.Errorf("starting load generator: %w", err)
	}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("starting load generator: %w", err)
	}
	return &generator{cmd: cmd, input: input, lines: bufio.NewReader(output)}, nil
}

// expectReady waits for the end of the warm-up and returns how many requests it made.
func (g *generator) expectReady() (requests int64, err error) {
	line, err := g.lines.ReadString('\n')
	if err != nil {
		return 0, fmt.Errorf("waiting for the load generator: %w", err)
	}
	var ready loadResult
	if err := json.Unmarshal([]byte(line), &ready); err != nil {
		return 0, fmt.Errorf("reading from the load generator: %w", err)
	}
	if ready.Errors > 0 {
		return 0, fmt.Errorf("warming up: %s", ready.First)
	}
	return ready.Requests, nil
}

func (g *generator) run() (loadResult, error) {
	if _, err := io.WriteString(g.input, "go\n"); err != nil {
		return loadResult{}, fmt.Errorf("starting the load: %w", err)
	}
	line, err := g.lines.ReadBytes('\n')
	if err != nil {
		return loadResult{}, fmt.Errorf("waiting for the load generator: %w", err)
	}
	var result loadResult
	if err := json.Unmarshal(line, &result); err != nil {
		return loadResult{}, fmt.Errorf("reading the load generator's result: %w", err)
	}
	return result, nil
}

func (g *generator) end() error {
	_ = g.input.Close() // it may have ended by itself
	return g.cmd.Wait()
}

// load is one kind of load inside the generator.
type load interface {
	warmUp() (requests int64, err error)
	run() (loadResult, error)
	finish() error // after the parent has read what it wanted to
}

// generate is the generator's main: report ready, wait for "go", run, report, and hold the
// connections until the input ends.
func generate(arg string, in io.Reader, out io.Writer) error {
	var spec loadSpec
	if err := json.Unmarshal([]byte(arg), &spec); err != nil {
		return fmt.Errorf("reading load: %w", err)
	}
	if len(spec.CPUs) > 0 {
		if err := pin(os.Getpid(), spec.CPUs); err != nil {
			return err
		}
	}
	answers := json.NewEncoder(out)
	l, err := newLoad(spec)
	var warmUp int64
	if err == nil {
		warmUp, err = l.warmUp()
	}
	if err != nil {
		return answers.Encode(loadResult{Errors: 1, First: err.Error()})
	}
	if err := answers.Encode(loadResult{Requests: warmUp}); err != nil {
		return err
	}
	orders := bufio.NewReader(in)
	if _, err := orders.ReadString('\n'); err != nil {
		return nil // the parent gave up
	}
	result, err := l.run()
	if err != nil {
		result.Errors++
		result.First = err.Error()
	}
	if err := answers.Encode(result); err != nil {
		return err
	}
	if _, err := io.Copy(io.Discard, orders); err != nil {
		return fmt.Errorf("waiting for the end: %w", err)
	}
	return l.finish()
}

func newLoad(spec loadSpec) (load, error) {
	switch spec.Kind {
	case loadClosed, loadOpen:
		return newPoller(spec)
	case loadDownload, loadUpload:
		return newBulk(spec)
	case loadIdle:
		return &idle{spec: spec}, nil
	}
	return nil, errors.New("unknown kind of load: " + spec.Kind)
}
