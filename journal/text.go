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

	"golang.org/x/sys/unix"
)

// An Outlet takes events out of the process: a *Journald, or a *Text. Its methods may be
// called from several goroutines.
type Outlet interface {
	// Dropped returns how many events were lost since the start.
	Dropped() uint64
	// Close sends what waits, for a second at most.
	Close() error
}

// NewHandler returns the handler for events of level and above that suits what stderr is,
// and its Outlet, whose Close must be called before the end of the process:
//
//   - the journal, as $JOURNAL_STREAM says: journald's native protocol.
//   - the journal, but nobody listens on journald's socket, or a pipe or socket with
//     which systemd has started this very process: lines of text that begin with their
//     priority, as sd-daemon(3) has it ("<4>") and SyslogLevelPrefix=
//     expects it.
//   - /dev/null, from systemd, which opens that if journald was not there to connect
//     this very process to: journald's native protocol, as soon as it is.
//   - anything else: text with time and level.
//
// No event waits for a reader, or for a disk.
func NewHandler(stderr *os.File, getenv func(string) string, level slog.Leveler) (slog.Handler, Outlet) {
	return pickHandler(stderr, getenv, level, JournaldSocket, os.Getpid())
}

func pickHandler(stderr *os.File, getenv func(string) string, level slog.Leveler, socket string, pid int) (slog.Handler, Outlet) {
	info, err := stderr.Stat()
	if err == nil && isJournalStream(info, getenv("JOURNAL_STREAM")) {
		if j, err := OpenJournald(socket); err == nil {
			return j.Handler(level), j
		}
		t := OpenText(stderr)
		return newPrefixed(t, level), t
	}
	if err == nil && isNull(info) && startedBySystemd(getenv, pid) {
		j := awaitJournald(socket)
		return j.Handler(level), j
	}
	t := OpenText(stderr)
	// Without what Stat says there is nothing to tell it apart by.
	if err == nil && info.Mode()&(fs.ModeNamedPipe|fs.ModeSocket) != 0 && getenv("SYSTEMD_EXEC_PID") == strconv.Itoa(pid) {
		return newPrefixed(t, level), t
	}
	return newText(t, level), t
}

// startedBySystemd reports whether a service manager has started this very process. The
// variables are inherited, but for the one that holds the pid, systemd.exec(5).
func startedBySystemd(getenv func(string) string, pid int) bool {
	if own := getenv("SYSTEMD_EXEC_PID"); own != "" {
		return own == strconv.Itoa(pid)
	}
	return getenv("NOTIFY_SOCKET") != "" || getenv("INVOCATION_ID") != ""
}

// isNull reports whether a file is /dev/null, null(4).
func isNull(info fs.FileInfo) bool {
	stat, ok := info.Sys().(*syscall.Stat_t)
	return ok && info.Mode()&fs.ModeCharDevice != 0 && stat.Rdev == unix.Mkdev(1, 3)
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
