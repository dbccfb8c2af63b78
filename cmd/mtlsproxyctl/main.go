// Command mtlsproxyctl shows and steers mtlsproxyd over its admin socket.
package main

import (
	"context"
	"io"
	"os"
	"os/signal"
	"os/user"
	"strconv"
	"syscall"
	"time"

	"github.com/alecthomas/kong"
	"golang.org/x/sys/unix"

	"github.com/mtlsproxy/mtlsproxy/service/admin/api"
)

// Exit codes.
const (
	exitOK           = 0
	exitFailed       = 1
	exitUsage        = 2
	exitNotRunning   = 3
	exitNotPermitted = 4
	exitInterrupted  = 130 // as shells show a process that SIGINT ended
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second one ends the process whatever it does
	os.Exit(run(os.Args[1:], world{
		ctx: ctx, getenv: os.Getenv, uid: os.Getuid(), stdin: os.Stdin, stdout: os.Stdout, stderr: os.Stderr,
		now: time.Now, wait: wait, terminal: terminal, userName: userName, userID: userID, units: systemdStates, systemSocket: api.SystemSocket,
	}))
}

// world is what a command sees of the outside.
type world struct {
	ctx            context.Context // ends with Ctrl-C
	getenv         func(string) string
	uid            int
	stdin          io.Reader
	stdout, stderr io.Writer

	now      func() time.Time
	wait     func(context.Context, time.Duration) error      // until the time is over or the context is
	terminal func(w io.Writer) (width, height int, yes bool) // whether w is one, and how large
	userName func(uid uint32) string                         // the number again if there is no name
	userID   func(name string) (uint32, bool)
	units    func(names ...string) map[string]unitState // of systemd; nil: there is none

	systemSocket string // of the admin API of the system's daemon
}

// run parses the arguments, runs the command they name and returns its exit code.
func run(args []string, w world) int {
	var c cli
	code := -1
	parser, err := kong.New(&c, c.options(w, func(n int) { code = n })...)
	if err != nil {
		panic("BUG: " + err.Error()) // the command line's own definition is wrong
	}
	parsed, err := parser.Parse(args)
	if code >= 0 { // help was asked for and given
		return code
	}
	if err != nil {
		misused(w.stderr, selected(err), err)
		return exitUsage
	}
	x, err := newControl(w, c.Globals)
	if err != nil {
		misused(w.stderr, parsed.Selected(), err)
		return exitUsage
	}
	defer x.client.Close()
	x.model = parser.Model
	return x.ended(parsed.Selected(), parsed.Run(x))
}

func wait(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func terminal(w io.Writer) (width, height int, yes bool) {
	f, ok := w.(*os.File)
	if !ok {
		return 0, 0, false
	}
	if _, err := unix.IoctlGetTermios(int(f.Fd()), unix.TCGETS); err != nil {
		return 0, 0, false
	}
	width, height = 80, 24 // of a terminal that does not tell
	if size, err := unix.IoctlGetWinsize(int(f.Fd()), unix.TIOCGWINSZ); err == nil && size.Col > 0 && size.Row > 0 {
		width, height = int(size.Col), int(size.Row)
	}
	return width, height, true
}

func userName(uid uint32) string {
	number := strconv.FormatUint(uint64(uid), 10)
	if u, err := user.LookupId(number); err == nil {
		return u.Username
	}
	return number
}

func userID(name string) (uint32, bool) {
	u, err := user.Lookup(name)
	if err != nil {
		return 0, false
	}
	n, err := strconv.ParseUint(u.Uid, 10, 32)
	return uint32(n), err == nil
}
