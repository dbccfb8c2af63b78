package service

import (
	"log/slog"
	"path/filepath"
	"sync"

	"github.com/mtlsproxy/mtlsproxy/journal"
	"github.com/mtlsproxy/mtlsproxy/service/config"
	"github.com/mtlsproxy/mtlsproxy/service/proxy"
	"github.com/mtlsproxy/mtlsproxy/service/sd"
)

// records is the request log in one directory.
type records struct {
	*journal.Log
	events    *slog.Logger
	directory string
	users     *proxy.Users // exchanges whose record it will get
	wanted    bool         // by the world that runs
	leaving   int          // retirements under way
}

// logs are the request logs that are open: the one of the world that runs, and those
// that exchanges from before a reload still need. One directory can be open only once.
type logs struct {
	mu   sync.Mutex
	open map[string]*records
}

// take returns the log in a directory, made by open unless it is there.
func (l *logs) take(directory string, events *slog.Logger, open func() *journal.Log) (r *records, made bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if r = l.open[directory]; r == nil {
		r, made = &records{Log: open(), events: events, directory: directory}, true
		if l.open == nil {
			l.open = make(map[string]*records)
		}
		l.open[directory] = r
	}
	if !r.wanted {
		r.wanted, r.users = true, proxy.NewUsers()
	}
	return r, made
}

// retire closes a log that is not wanted any more after the last of its users has
// left, or when the daemon ends; unless it is wanted again by then.
func (l *logs) retire(r *records, ending <-chan struct{}) {
	l.mu.Lock()
	users := r.users
	r.wanted = false
	r.leaving++
	l.mu.Unlock()
	users.Retire()
	select {
	case <-users.Unused():
	case <-ending:
		return // close takes care of it
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	r.leaving--
	if !r.wanted && r.leaving == 0 && l.open[r.directory] == r {
		delete(l.open, r.directory)
		r.finish()
	}
}

// finish closes the log. What it could not write it only tells the one who closes it.
func (r *records) finish() {
	if err := r.Close(); err != nil {
		r.events.Error("closing the request log failed", "event", "log_failing", "directory", r.directory, "error", err)
	}
}

// close closes all that are open.
func (l *logs) close() {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, r := range l.open {
		r.finish()
	}
	clear(l.open)
}

// record gives w its request log: the one that is open in the same place, with the
// bounds that w wants, or a new one. Trouble with the disk is the log's to report.
func (s *Service) record(w *world) {
	c := &w.config.Log
	if !c.Enabled {
		return
	}
	dir := c.Directory
	if dir == "" {
		state := s.stateDirectory()
		if state == "" {
			w.unlogged = "no place for the request log: neither STATE_DIRECTORY, XDG_STATE_HOME nor HOME is set; set [log] directory"
			s.Log.Warn("there is no request log; set [log] directory", "event", "degraded", "error", "neither STATE_DIRECTORY, XDG_STATE_HOME nor HOME is set")
			return
		}
		dir = filepath.Join(state, "log")
	}
	l := journalLimits(c)
	r, made := s.logs.take(dir, s.Log, func() *journal.Log {
		return journal.Open(journal.Options{
			Directory: dir, SegmentSize: l.SegmentSize, SegmentAge: l.SegmentAge, MaxSize: l.MaxSize, MaxAge: l.MaxAge,
			Buffer: c.Buffer, Log: s.Log, Systemd: sd.UnderSystemd(s.Getenv),
		})
	})
	if !made {
		r.Resize(l)
	}
	w.records = r
	w.table.Records, w.table.Recording = r, r.users
}

func journalLimits(c *config.Log) journal.Limits {
	return journal.Limits{SegmentSize: c.SegmentSize, SegmentAge: c.SegmentAge, MaxSize: c.MaxSize, MaxAge: c.MaxAge}
}
