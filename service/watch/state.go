package watch

import (
	"cmp"
	"slices"
	"time"
)

// How says by what a change is noticed.
type How string

const (
	// Inotify: every directory on the way is watched. It is polled as well.
	Inotify How = "inotify"

	// Polling: at least one directory on the way is not watched, or does not tell
	// of all changes, so that some are not noticed before the next poll.
	Polling How = "polling"
)

// State is what a Watcher knows of itself.
type State struct {
	Paths      []Path // files, then directories, as they were given
	Watches    int    // directories that inotify watches
	Looks      uint64 // how often everything was looked at
	LastLook   time.Time
	Looking    time.Time // since when a look is under way; zero: none is
	Changes    uint64    // paths reported as changed, since New
	LastChange time.Time
	Overflows  uint64 // times that inotify lost events
}

// Path is the state of one path.
type Path struct {
	Path       string
	Dir        bool
	How        How
	Why        string    // it is only polled; "" for inotify
	Entries    int       // files that count, of a directory
	LastChange time.Time // when last reported as changed, zero if never
	Error      string    // why it cannot be read; "" if it can
}

// State returns the state as of the last look. It does not wait for one.
func (w *Watcher) State() State {
	w.mu.Lock()
	defer w.mu.Unlock()
	s := w.state
	s.Paths = slices.Clone(s.Paths)
	return s
}

// publish makes the state anew from what the looks have found.
func (w *Watcher) publish() {
	paths := make([]Path, len(w.targets))
	reasons := make(map[string]struct{})
	for i, t := range w.targets {
		p := Path{Path: t.path, Dir: t.dir, How: Inotify, Why: t.why, Entries: t.seen.entries, LastChange: t.lastChange, Error: cmp.Or(t.spent, t.seen.err)}
		if t.why != "" {
			p.How = Polling
			reasons[t.why] = struct{}{}
		}
		paths[i] = p
	}
	w.mu.Lock()
	w.state.Paths = paths
	w.state.Watches = len(w.arms.dirs)
	w.mu.Unlock()
	w.tell(reasons)
}

// tell logs what inotify does not cover, once for each reason.
func (w *Watcher) tell(reasons map[string]struct{}) {
	for why := range reasons {
		if _, old := w.reasons[why]; !old {
			w.opt.Log.Warn("files are watched by polling only", "event", "watch_polling", "reason", why, "poll", w.opt.Poll)
		}
	}
	if len(w.reasons) > 0 && len(reasons) == 0 {
		w.opt.Log.Info("all files are watched by inotify again", "event", "watch_healed")
	}
	w.reasons = reasons
}
