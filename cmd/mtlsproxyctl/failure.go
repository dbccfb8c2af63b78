package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"syscall"
	"time"

	"github.com/alecthomas/kong"

	"github.com/mtlsproxy/mtlsproxy/cmd/mtlsproxyctl/text"
	"github.com/mtlsproxy/mtlsproxy/service/admin/api"
)

// Classes of errors that no daemon answers.
const (
	classNotRunning  api.Class = "not_running"
	classTooSlow     api.Class = "too_slow"
	classMismatch    api.Class = "version_mismatch"
	classCutShort    api.Class = "cut_short"
	classPaused      api.Class = "reading_paused"
	classNoAnswer    api.Class = "no_answer"
	classInterrupted api.Class = "interrupted"
	classFailed      api.Class = "failed"
)

// adminGroup is whose members may connect to the admin socket.
const adminGroup = "mtlsproxy-admin"

var (
	errTooSlow  = errors.New("no answer in time")
	errCutShort = errors.New("the daemon ended its answer before it was complete; it may have stopped")
)

// usageError is wrong usage that the parser cannot see.
type usageError struct{ text string }

// Error implements error.
func (e usageError) Error() string { return e.text }

// told is an error that the output says already; only the exit code is left to give.
type told struct{ code int }

// Error implements error.
func (told) Error() string { return "told" }

// slow says that the time for an answer was over, if that is why it failed.
func slow(ctx context.Context, err error) error {
	if errors.Is(err, context.DeadlineExceeded) && context.Cause(ctx) == errTooSlow { //nolint:errorlint // the cause is this very error
		return errTooSlow
	}
	return err
}

func selected(err error) *kong.Node {
	if parse, ok := errors.AsType[*kong.ParseError](err); ok {
		return parse.Context.Selected()
	}
	return nil
}

// misused tells what is wrong with the arguments, and where the right ones stand.
func misused(w io.Writer, command *kong.Node, err error) {
	path := "mtlsproxyctl"
	if command != nil {
		path = command.FullPath()
	}
	_ = say(w, "mtlsproxyctl: "+text.Safe(err.Error())+"\nhint: "+path+" --help shows what there is\n")
}

// ended tells of an error, and returns the exit code.
func (x *control) ended(command *kong.Node, err error) int {
	var (
		usage  usageError
		silent told
		path   *fs.PathError
	)
	switch {
	case err == nil:
		return exitOK
	case errors.As(err, &silent):
		return silent.code
	case errors.As(err, &usage):
		misused(x.stderr, command, usage)
		return exitUsage
	case errors.Is(err, syscall.EPIPE) && errors.As(err, &path) && path.Path == os.Stdout.Name(): // whoever read has seen enough
		return exitOK
	}
	e, code := x.explain(err)
	x.tell(e)
	return code
}

// tell prints an error: as JSON in place of what was asked for, or as text.
func (x *control) tell(e *api.Error) {
	if x.json {
		if line, err := lineJSON(api.ErrorBody{Error: e}); err == nil {
			_ = say(x.errors, line)
		}
		return
	}
	if e.Class == classInterrupted {
		return
	}
	out := "mtlsproxyctl: " + text.Safe(e.Message) + "\n" + indented(e.Details, "  ")
	if e.Hint != "" {
		out += "hint: " + text.Safe(e.Hint) + "\n"
	}
	_ = say(x.stderr, out)
}

// explain makes of an error what went wrong and what to do.
func (x *control) explain(err error) (*api.Error, int) {
	var (
		answer *api.Error
		path   *fs.PathError
		socket = x.client.Socket()
	)
	errors.As(err, &answer)
	switch {
	case x.ctx.Err() != nil && errors.Is(err, context.Canceled):
		return &api.Error{Class: classInterrupted, Message: "interrupted"}, exitInterrupted
	case errors.Is(err, api.ErrNotRunning):
		return x.notRunning(), exitNotRunning
	case errors.Is(err, api.ErrNotPermitted):
		return x.notPermitted(answer), exitNotPermitted
	case errors.Is(err, api.ErrNoAnswer):
		return &api.Error{Class: classNoAnswer, Message: "the daemon on " + socket + " closed the connection without an answer: it is stopping, or has too many of them",
			Hint: "try again; systemctl status mtlsproxy tells whether it stops"}, exitFailed
	case errors.Is(err, api.ErrPaused):
		return &api.Error{Class: classPaused, Message: "the daemon ended its answer before it was complete: " + err.Error(),
			Hint: "mtlsproxyctl log export --output FILE takes all at once, to be read at leisure"}, exitFailed
	case errors.Is(err, errTooSlow):
		return x.tooSlow(), exitFailed
	case answer != nil && answer.Class == api.NotFound:
		return x.notFound(answer), exitFailed
	case answer != nil:
		return answer, exitFailed
	case errors.Is(err, errCutShort), cutShort(err):
		return &api.Error{Class: classCutShort, Message: errCutShort.Error(), Hint: "mtlsproxyctl status tells whether it runs"}, exitFailed
	case errors.As(err, &path):
		return &api.Error{Class: classFailed, Message: err.Error()}, exitFailed
	}
	return x.misunderstood(err), exitFailed
}

func (x *control) notPermitted(answer *api.Error) *api.Error {
	uid := uint32(x.uid)
	e := &api.Error{Class: api.NotPermitted, Hint: fmt.Sprintf("use sudo, or join the group %s (sudo usermod -aG %s %s) and log in again", adminGroup, adminGroup, x.caller(&uid))}
	e.Message = fmt.Sprintf("user %s (uid %d) may not connect to %s", x.caller(&uid), uid, x.client.Socket())
	if answer != nil {
		e.Message = fmt.Sprintf("user %s (uid %d) may not do this: %s", x.caller(&uid), uid, answer.Message)
		e.Details = answer.Details
		if answer.Hint != "" {
			e.Hint = answer.Hint + "; or use sudo"
		}
	}
	return e
}

// cutShort says whether an answer ended in the middle of a value.
func cutShort(err error) bool {
	return errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, syscall.ECONNRESET)
}

// theirs asks what answers for its version, without waiting long.
func (x *control) theirs() (api.Version, error) {
	ctx, cancel := context.WithTimeout(x.ctx, min(x.timeout, 2*time.Second))
	defer cancel()
	return x.client.Version(ctx)
}

// notFound adds to an answer what may be the reason.
func (x *control) notFound(answer *api.Error) *api.Error {
	v, err := x.theirs()
	if err != nil || v.API == apiVersion && v.Version == describe() || answer.Hint != "" {
		return answer
	}
	e := *answer
	e.Hint = fmt.Sprintf("the daemon is version %s (API %s), mtlsproxyctl is %s (API %s); if it should know this, restart it: systemctl restart mtlsproxy",
		v.Version, v.API, describe(), apiVersion)
	return &e
}

// misunderstood explains an answer that is none. Only where the two sides do speak
// the same version of the API is the cause what it says.
func (x *control) misunderstood(cause error) *api.Error {
	e := &api.Error{Class: classMismatch, Details: []string{text.Flat(cause.Error())}}
	v, err := x.theirs()
	switch {
	case err == nil && v.API == apiVersion && v.Version == describe():
		return &api.Error{Class: classFailed, Message: text.Flat(cause.Error())}
	case err == nil && v.API == apiVersion:
		return &api.Error{Class: classFailed, Message: text.Flat(cause.Error()), Hint: fmt.Sprintf("the daemon is version %s, mtlsproxyctl is %s; "+
			"if the two do not understand each other, install the same version of both, then: systemctl restart mtlsproxy", v.Version, describe())}
	case err != nil || v.API == "":
		e.Message = fmt.Sprintf("what answers on %s does not speak the admin API %s of mtlsproxyctl %s", x.client.Socket(), apiVersion, describe())
		e.Hint = "is it mtlsproxyd? --socket PATH names another socket"
		return e
	}
	e.Message = fmt.Sprintf("cannot understand the daemon: it is version %s (API %s), mtlsproxyctl is %s (API %s)", v.Version, v.API, describe(), apiVersion)
	e.Hint = "install the same version of both, then: systemctl restart mtlsproxy"
	return e
}

// asRefused returns the daemon's word that something was tried and cannot be done.
func asRefused(err error) (*api.Error, bool) {
	e, ok := errors.AsType[*api.Error](err)
	return e, ok && e.Class == api.Refused
}
