package watch

import (
	"errors"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/fsnotify/fsnotify"
)

// target is a path that somebody wants to know about.
type target struct {
	path   string
	dir    bool
	suffix string // of the files that count in a directory

	way        way
	why        string // it is polled only; "" if inotify tells
	known      bool   // seen and told hold something
	seen       stamp  // when last looked at
	spent      string // why it could not be looked at last time
	told       stamp  // when last reported
	lastChange time.Time
}

func (t *target) changed() bool { return t.seen != t.told }

// counts reports whether a file of this name in the directory counts.
func (t *target) counts(name string) bool {
	return !strings.HasPrefix(name, ".") && strings.HasSuffix(name, t.suffix)
}

// maxTurns bounds how often the ways are followed in one look. If links turn
// faster than that, their events lead to the next look.
const maxTurns = 4

// look follows the ways, arms their directories and reads what is at the end.
// It reports whether something that inotify does not tell of has changed since
// the last look, and so may be changing still.
func (w *Watcher) look() (moving bool) {
	now := time.Now()
	w.mu.Lock()
	w.state.Looking = now
	w.mu.Unlock()
	w.openSource(now)
	// A link may have been turned before its directory was armed, so the ways are
	// known only when they have been followed with everything armed.
	for range maxTurns {
		if !w.arms.set(w.follow()) {
			break
		}
	}
	for _, t := range w.targets {
		s := t.read()
		t.why = w.arms.why(t.way.dirs)
		if t.spent = ""; s.spent && t.known {
			t.spent = s.err // which says nothing of the file
			continue
		}
		switch {
		case !t.known:
			t.known, t.told = true, s
		case s != t.seen && t.why != "":
			moving = true
		}
		t.seen = s
	}
	w.mu.Lock()
	w.state.Looks++
	w.state.LastLook, w.state.Looking = time.Now(), time.Time{}
	w.mu.Unlock()
	w.publish()
	return moving
}

// follow finds the ways of all targets and returns the directories on them.
func (w *Watcher) follow() map[string]struct{} {
	dirs := make(map[string]struct{})
	names := make(map[string]struct{})
	for _, t := range w.targets {
		t.way = t.follow()
		for _, d := range t.way.dirs {
			dirs[d] = struct{}{}
		}
		for _, n := range t.way.names {
			names[n] = struct{}{}
		}
	}
	w.names = names
	return dirs
}

// openSource opens inotify if it is not open, but not over and over.
func (w *Watcher) openSource(now time.Time) {
	if w.arms.source != nil || now.Sub(w.tried) < w.opt.Poll/2 {
		return
	}
	w.tried = now
	src, err := w.open()
	if err != nil {
		w.arms.lose(openReason(err))
		return
	}
	w.arms.source = src
}

func (w *Watcher) source() (notifier, <-chan fsnotify.Event, <-chan error) {
	w.work.Lock()
	defer w.work.Unlock()
	if w.arms.source == nil {
		return nil, nil, nil
	}
	return w.arms.source, w.arms.source.Events(), w.arms.source.Errors()
}

// concerns reports whether an event is a reason to look. Base names alone decide:
// a directory that is mounted at two places is called by either name.
func (w *Watcher) concerns(e fsnotify.Event) bool {
	w.work.Lock()
	defer w.work.Unlock()
	path := filepath.Clean(e.Name)
	if w.arms.has(path) && e.Op&(fsnotify.Remove|fsnotify.Rename) != 0 {
		// Its watch is gone, and with it those of other names of it.
		w.arms.doubt()
		return true
	}
	base := filepath.Base(path)
	if _, ok := w.names[base]; ok {
		return true
	}
	dir := filepath.Dir(path)
	for _, t := range w.targets {
		if t.dir && t.way.end == dir && t.counts(base) {
			return true
		}
	}
	return w.arms.disturbed(dir)
}

// fault deals with an error of inotify and reports whether to look.
func (w *Watcher) fault(src notifier, err error) bool {
	switch {
	case errors.Is(err, fsnotify.ErrEventOverflow):
		w.mu.Lock()
		w.state.Overflows++
		w.mu.Unlock()
		w.overflow()
	case errors.Is(err, syscall.EINVAL), errors.Is(err, fsnotify.ErrNonExistentWatch):
		// A directory was gone before its watch could be taken off.
	default:
		return w.drop(src, err)
	}
	w.work.Lock()
	defer w.work.Unlock()
	w.arms.doubt()
	return true
}

// overflow logs that events were lost, once between two polls.
func (w *Watcher) overflow() {
	w.work.Lock()
	defer w.work.Unlock()
	if !w.overflowed {
		w.opt.Log.Warn("inotify lost events; looking at all files", "event", "watch_overflow", "hint", "raise fs.inotify.max_queued_events if this is frequent")
	}
	w.overflowed = true
}

// drop gives up a source that does not work any more, and reports whether it was
// the one in use.
func (w *Watcher) drop(src notifier, err error) bool {
	w.work.Lock()
	defer w.work.Unlock()
	if w.arms.source != src {
		return false
	}
	w.arms.lose("inotify failed: " + err.Error())
	return true
}

func (w *Watcher) shut() {
	w.work.Lock()
	defer w.work.Unlock()
	w.arms.lose("the watcher is closed")
}
