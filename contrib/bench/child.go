package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"
)

const (
	readyWithin = 10 * time.Second
	stopWithin  = 15 * time.Second // mtlsproxyd drains, and writes its profile, on the way out
)

// child is a server process of the run: the upstream or a proxy.
type child struct {
	name string
	pid  int
	log  string        // file that holds what it printed
	done chan struct{} // closed when the process has ended
}

// startChild runs argv in a process group of its own, so that Ctrl-C reaches this program
// first and the children end in order.
func startChild(name, dir string, argv, env []string) (*child, error) {
	logName := filepath.Join(dir, name+".log")
	logFile, err := os.Create(logName)
	if err != nil {
		return nil, fmt.Errorf("starting %s: %w", name, err)
	}
	defer func() { _ = logFile.Close() }() // the child has its own

	cmd := exec.Command(argv[0], argv[1:]...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), env...)
	cmd.Stdout, cmd.Stderr = logFile, logFile
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("starting %s: %w", name, err)
	}
	c := &child{name: name, pid: cmd.Process.Pid, log: logName, done: make(chan struct{})}
	go c.reap(cmd)
	return c, nil
}

func (c *child) reap(cmd *exec.Cmd) {
	_ = cmd.Wait() // how it ended is in its log; that it ended is what matters here
	close(c.done)
}

// waitReady polls probe until it succeeds, the child ends, or time is up.
func (c *child) waitReady(ctx context.Context, probe func() error) error {
	ctx, cancel := context.WithTimeout(ctx, readyWithin)
	defer cancel()
	for {
		last := probe()
		if last == nil {
			return nil
		}
		select {
		case <-c.done:
			return fmt.Errorf("%s ended while starting: %s", c.name, c.logTail())
		case <-ctx.Done():
			return fmt.Errorf("%s is not ready: %w (last: %w): %s", c.name, ctx.Err(), last, c.logTail())
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// stop ends the child with SIGTERM and, after a bound, its whole group with SIGKILL.
func (c *child) stop() error {
	_ = syscall.Kill(c.pid, syscall.SIGTERM) // may have ended already
	select {
	case <-c.done:
		return nil
	case <-time.After(stopWithin):
	}
	_ = syscall.Kill(-c.pid, syscall.SIGKILL)
	<-c.done
	return fmt.Errorf("%s ignored SIGTERM for %v and was killed", c.name, stopWithin)
}

// logTail returns the end of what the child printed.
func (c *child) logTail() string {
	data, err := os.ReadFile(c.log)
	if err != nil {
		return err.Error()
	}
	data = bytes.TrimSpace(data)
	if len(data) == 0 {
		return "(it printed nothing)"
	}
	return string(data[max(0, len(data)-2000):])
}

// tcpProbe reports whether addr accepts a connection.
func tcpProbe(addr string) error {
	conn, err := net.DialTimeout("tcp", addr, time.Second)
	if err != nil {
		return err
	}
	return conn.Close()
}

// httpProbe reports whether a request for /small passes through the proxy at addr.
func httpProbe(addr string) error {
	conn, err := net.DialTimeout("tcp", addr, time.Second)
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close() }() // it has told what was asked
	if err := conn.SetDeadline(time.Now().Add(2 * time.Second)); err != nil {
		return err
	}
	if _, err := conn.Write(getRequest(addr, "/small")); err != nil {
		return err
	}
	_, err = readResponse(conn, make([]byte, 16<<10))
	return err
}

// freeAddr returns a loopback address nobody listens on at the moment.
func freeAddr() (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", fmt.Errorf("looking for a free port: %w", err)
	}
	return l.Addr().String(), l.Close()
}

// findProgram looks in PATH and where distributions keep daemons.
func findProgram(name string) (string, error) {
	for _, candidate := range []string{name, "/usr/sbin/" + name, "/usr/local/sbin/" + name} {
		path, err := exec.LookPath(candidate)
		if err == nil {
			return filepath.Abs(path)
		}
	}
	return "", errors.New("not installed")
}
