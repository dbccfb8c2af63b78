package journal

import (
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"strconv"
	"strings"
	"sync"
	"syscall"
)

// NewHandler returns the handler for events of level and above that suits what stderr is:
//
//   - the journal, as $JOURNAL_STREAM says: journald's native protocol, through the
//     returned Journald. Call its Close before the end of the process.
//   - the journal, but nobody listens on journald's socket, or a pipe or socket with
//     which systemd has started this very process: lines of text that begin with their
//     priority, as sd-daemon(3) has it ("<4>") and SyslogLevelPrefix=
//     expects it.
//   - anything else: text with time and level.
//
// The Journald is nil in all cases but the first; that is what its methods allow.
func NewHandler(stderr *os.File, getenv func(string) string, level slog.Leveler) (slog.Handler, *Journald) {
	return pickHandler(stderr, getenv, level, JournaldSocket, os.Getpid())
}

func pickHandler(stderr *os.File, getenv func(string) string, level slog.Leveler, socket string, pid int) (slog.Handler, *Journald) {
	info, err := stderr.Stat()
	if err != nil {
		return newText(stderr, level), nil // there is nothing to tell it apart by
	}
	if isJournalStream(info, getenv("JOURNAL_STREAM")) {
		if j, err := OpenJournald(socket); err == nil {
			return j.Handler(level), j
		}
		return newPrefixed(stderr, level), nil
	}
	if info.Mode()&(fs.ModeNamedPipe|fs.ModeSocket) != 0 && getenv("SYSTEMD_EXEC_PID") == strconv.Itoa(pid) {
		return newPrefixed(stderr, level), nil
	}
	return newText(stderr, level), nil
}

// isJournalStream reports whether a file is the one that systemd has connected to the
// journal, systemd.exec(5). The variable alone says little: children inherit it, and
// their output may go elsewhere.
func isJournalStream(info fs.FileInfo, stream string) bool {
	stat, ok := info.Sys().(*syscall.Stat_t)
	device, inode, _ := strings.Cut(stream, ":")
	d, errD := strconv.ParseUint(device, 10, 64)
	i, errI := strconv.ParseUint(inode, 10, 64)
	return ok && errD == nil && errI == nil && d == uint64(stat.Dev) && i == stat.Ino //nolint:unconvert // it is shorter on mips64
}

func newText(w io.Writer, level slog.Leveler) slog.Handler {
	return slog.NewTextHandler(w, &slog.HandlerOptions{Level: level})
}

// newPrefixed makes a handler whose lines have a priority in place of time and level,
// which the journal knows by itself.
func newPrefixed(w io.Writer, level slog.Leveler) slog.Handler {
	return slog.NewTextHandler(&prefixWriter{to: w}, &slog.HandlerOptions{
		Level: level,
		ReplaceAttr: func(groups []string, a slog.Attr) slog.Attr {
			switch {
			case len(groups) > 0:
			case a.Key == slog.TimeKey && a.Value.Kind() == slog.KindTime:
				return slog.Attr{}
			case a.Key == slog.LevelKey:
				if l, ok := a.Value.Any().(slog.Level); ok {
					return slog.Int(slog.LevelKey, int(priorityOf(l)))
				}
			}
			return a
		},
	})
}

// A prefixWriter turns "level=4 " at the beginning of a line into "<4>". A TextHandler
// writes each event in one call, and in one line.
type prefixWriter struct {
	mu   sync.Mutex
	to   io.Writer
	line []byte
}

// Write implements io.Writer.
func (p *prefixWriter) Write(line []byte) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.line = p.line[:0]
	if rest, ok := strings.CutPrefix(string(line), slog.LevelKey+"="); ok {
		priority, text, _ := strings.Cut(rest, " ")
		p.line = fmt.Appendf(p.line, "<%s>%s", priority, text)
	} else {
		p.line = append(p.line, line...)
	}
	if _, err := p.to.Write(p.line); err != nil {
		return 0, err
	}
	return len(line), nil
}
