package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"strings"
	"time"

	"charm.land/lipgloss/v2"

	"github.com/mtlsproxy/mtlsproxy/cmd/mtlsproxyctl/text"
)

// What moves about a terminal, from ECMA-48: to the corner, clear to the end of the
// line, clear to the end of the screen.
const (
	home      = "\x1b[H"
	clearLine = "\x1b[K"
	clearDown = "\x1b[J"
)

// repeat shows an answer once, or again and again until the context ends. Once it
// was shown, a daemon that goes away ends nothing: it may come back.
func repeat[T any](x *control, e every, question func(context.Context) (T, error), write func(io.Writer, T) error) error {
	if e == 0 {
		return ask(x, question, write)
	}
	_, _, onTerminal := x.terminal(x.stdout)
	onTerminal = onTerminal && !x.json
	for n := 0; ; n++ {
		width, height, _ := x.terminal(x.stdout) // whose size may change
		x.page.Width = width
		frame, err := frame(x, question, write)
		switch {
		case x.ctx.Err() != nil:
			return nil
		case err != nil && (n == 0 || x.json):
			return err
		case err != nil && onTerminal:
			e, _ := x.explain(err)
			frame = fmt.Sprintf("%s\nmtlsproxyctl: %s\n", x.now().In(x.clock).Format(time.TimeOnly), text.Safe(e.Message))
		case err != nil:
			e, _ := x.explain(err)
			x.tell(e)
		case n > 0 && !onTerminal && !x.json:
			frame = "\n" + frame
		}
		if onTerminal {
			frame = redrawn(frame, width, height)
		}
		if err := say(x.stdout, frame); err != nil {
			return err
		}
		if x.wait(x.ctx, time.Duration(e)) != nil {
			return nil
		}
	}
}

// frame asks once, and returns what to print.
func frame[T any](x *control, question func(context.Context) (T, error), write func(io.Writer, T) error) (string, error) {
	ctx, cancel := x.within()
	defer cancel()
	v, err := question(ctx)
	if err != nil {
		return "", slow(ctx, err)
	}
	if x.json {
		return lineJSON(v)
	}
	var b bytes.Buffer
	err = write(&b, v)
	return b.String(), err
}

// redrawn is text that takes the place of what is on a terminal, cut to its height.
func redrawn(frame string, width, height int) string {
	lines := strings.Split(strings.TrimSuffix(frame, "\n"), "\n")
	room := height - 1 // the cursor ends on a line of its own
	for i, line := range lines {
		need := max(1, (lipgloss.Width(line)+width-1)/width)
		if more := len(lines) - i; need > room || room == 1 && more > 1 {
			lines = append(lines[:i], fmt.Sprintf("… %d more lines; a higher terminal shows them", more))
			break
		}
		room -= need
	}
	return home + strings.Join(lines, clearLine+"\n") + clearLine + "\n" + clearDown
}
