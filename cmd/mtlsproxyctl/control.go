package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/alecthomas/kong"

	"github.com/mtlsproxy/mtlsproxy/cmd/mtlsproxyctl/text"
	"github.com/mtlsproxy/mtlsproxy/service/admin/api"
)

// longestSocket is what fits into a unix socket's address, from unix(7), with its
// closing NUL.
const longestSocket = 107

// control is what every command works with.
type control struct {
	world
	errors io.Writer // takes an error as JSON, --quiet or not

	client  *api.Client
	json    bool
	timeout time.Duration
	noColor bool
	page    text.Page         // standard output
	clock   *time.Location    // in which times are shown
	model   *kong.Application // the command line itself
	names   map[uint32]string // of users, as far as they were asked for
}

func newControl(w world, g globals) (*control, error) {
	socket := g.Socket
	if socket == "" {
		socket = w.getenv("MTLSPROXY_ADMIN_SOCKET")
	}
	if socket == "" {
		socket = standing(api.Sockets(w.uid, w.getenv))
	}
	if len(socket) > longestSocket {
		return nil, usageError{fmt.Sprintf("--socket: too long for a unix socket (got %d bytes, want %d at most): %s", len(socket), longestSocket, text.Safe(socket))}
	}
	if g.Timeout <= 0 {
		return nil, usageError{fmt.Sprintf("--timeout: must be longer than nothing (got %v, want 10s)", g.Timeout)}
	}
	loud := w.stdout
	if g.Quiet {
		w.stdout = io.Discard
	}
	x := &control{
		world: w, errors: loud, client: api.NewClient(socket), json: g.JSON, timeout: g.Timeout, noColor: g.NoColor,
		clock: w.now().Location(), names: map[uint32]string{},
	}
	if width, _, yes := w.terminal(w.stdout); yes {
		x.page = text.Page{Width: width, Color: x.colours()}
	}
	return x, nil
}

// quiet says whether nothing but errors is to be printed.
func (x *control) quiet() bool { return x.stdout == io.Discard }

// colours says whether a terminal may show them (https://no-color.org).
func (x *control) colours() bool {
	return !x.noColor && x.getenv("NO_COLOR") == "" && x.getenv("TERM") != "dumb"
}

// standing returns the first path where something is, or else the first.
func standing(paths []string) string {
	for _, path := range paths {
		if _, err := os.Stat(path); err == nil {
			return path
		}
	}
	return paths[0]
}

// within bounds a question that has one answer.
func (x *control) within() (context.Context, context.CancelFunc) {
	return context.WithTimeoutCause(x.ctx, x.timeout, errTooSlow)
}

// ask asks for one value, which is shown as JSON or as text.
func ask[T any](x *control, question func(context.Context) (T, error), write func(io.Writer, T) error) error {
	ctx, cancel := x.within()
	defer cancel()
	v, err := question(ctx)
	if err != nil {
		return slow(ctx, err)
	}
	return show(x, v, write)
}

// show prints a value as JSON, or as the text that write makes of it.
func show[T any](x *control, v T, write func(io.Writer, T) error) error {
	if x.json {
		return x.printJSON(v)
	}
	return write(x.stdout, v)
}

// printJSON prints a value over several lines.
func (x *control) printJSON(v any) error {
	data, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		return fmt.Errorf("printing: %w", err)
	}
	return say(x.stdout, string(text.JSON(data))+"\n")
}

// lineJSON is a value as one line of JSON.
func lineJSON(v any) (string, error) {
	data, err := json.Marshal(v)
	if err != nil {
		return "", fmt.Errorf("printing: %w", err)
	}
	return string(text.JSON(data)) + "\n", nil
}

// printTable prints a table, or what to say when it has no rows.
func (x *control) printTable(w io.Writer, t *text.Table, none string) error {
	if len(t.Rows) == 0 {
		return say(w, none+"\n")
	}
	return say(w, t.String(x.page))
}

// caller names a user.
func (x *control) caller(uid *uint32) string {
	if uid == nil {
		return "unknown"
	}
	name, known := x.names[*uid]
	if !known {
		name = x.userName(*uid)
		x.names[*uid] = name
	}
	return name
}

// ago says how long ago a time was.
func (x *control) ago(t time.Time) string { return text.Age(x.now().Sub(t)) }

// at writes a time to the second.
func (x *control) at(t time.Time) string { return t.In(x.clock).Format(time.DateTime) }

// indented is safe text of lines, each after an indent.
func indented(lines []string, indent string) string {
	var b strings.Builder
	for _, line := range lines {
		b.WriteString(indent + text.Safe(line) + "\n")
	}
	return b.String()
}

func say(w io.Writer, s string) error {
	if _, err := io.WriteString(w, s); err != nil {
		return fmt.Errorf("printing: %w", err)
	}
	return nil
}
