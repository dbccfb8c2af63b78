package watch

import (
	"cmp"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/fsnotify/fsnotify"
)

// Options says what to watch and how. Zero durations stand for the defaults.
type Options struct {
	// Files are paths of files, which may be missing.
	Files []string

	// Dirs are directories of which certain files count.
	Dirs []Dir

	// Changed is called with the paths, as they were given in Files and Dirs, of
	// what has changed: added, removed, other bytes, another mode or owner, or
	// another reason why it cannot be read. Calls come one at a time; what changes
	// during a call is reported after it. Changed may call Set, but not Close.
	Changed func(paths []string)

	// Debounce is how long it must be quiet before a change is reported, 300 ms by
	// default; MaxDelay is the longest that it is put off for, 2 s by default.
	Debounce time.Duration
	MaxDelay time.Duration

	// Poll is how often everything is looked at without being told to, and how
	// soon what could not be watched is tried again; 60 s by default.
	Poll time.Duration

	// Log is told when inotify fails and when it works again. nil discards that.
	Log *slog.Logger
}

// Dir is a directory whose files with names in Suffix count; hidden files and
// directories do not. One that is missing is the same as an empty one.
type Dir struct {
	Path   string
	Suffix string // such as ".toml"; "" for all names
}

// Watcher watches files. Its methods may be called from any goroutine.
type Watcher struct {
	opt    Options
	open   func() (notifier, error)
	mounts *mounts // nil: nobody tells of them

	kick    chan struct{} // capacity 1: the set or the source is another
	closing chan struct{}
	closed  chan struct{}
	once    sync.Once

	work    sync.Mutex // held during a look; guards what follows
	targets []*target
	names   map[string]struct{} // base names of everything on the ways
	arms    arms
	tried   time.Time           // when inotify was last opened
	reasons map[string]struct{} // why files are polled only, as last logged

	overflowed bool // since the last poll

	mu    sync.Mutex // guards state alone, so that State waits for no disk
	state State
}

// New looks at the files and starts to watch: what changes after New has returned
// is reported. So make the Watcher first and read the files then. Call Close.
func New(o Options) *Watcher {
	return start(o, openInotify, remoteFS, openMounts())
}

func start(o Options, open func() (notifier, error), remote func(dir string) string, mounts *mounts) *Watcher {
	o.Debounce = cmp.Or(o.Debounce, 300*time.Millisecond)
	o.MaxDelay = cmp.Or(o.MaxDelay, 2*time.Second)
	o.Poll = cmp.Or(o.Poll, time.Minute)
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Changed == nil {
		o.Changed = func([]string) {}
	}
	w := &Watcher{
		opt:     o,
		open:    open,
		mounts:  mounts,
		kick:    make(chan struct{}, 1),
		closing: make(chan struct{}),
		closed:  make(chan struct{}),
		arms:    newArms(remote),
	}
	w.Set(o.Files, o.Dirs)
	go w.run()
	return w
}

// Set replaces what is watched. A path that was watched before goes on from what
// was last reported of it, and one that is new from what it is now: what changes
// after Set has returned is reported.
//
// To lose nothing over a reload of the configuration, Set what the old and the
// new one name, read the files, and Set what is in effect then.
func (w *Watcher) Set(files []string, dirs []Dir) {
	w.work.Lock()
	defer w.work.Unlock()
	select {
	case <-w.closing:
		return
	default:
	}
	w.targets = merge(w.targets, files, dirs)
	w.look()
	select {
	case w.kick <- struct{}{}:
	default: // the loop is about to wake anyway
	}
}

// merge makes the list of targets, with those of old that stay.
func merge(old []*target, files []string, dirs []Dir) []*target {
	var list []*target
	add := func(t target) {
		same := func(o *target) bool { return o.path == t.path && o.dir == t.dir && o.suffix == t.suffix }
		if slices.ContainsFunc(list, same) {
			return
		}
		if i := slices.IndexFunc(old, same); i >= 0 {
			list = append(list, old[i])
			return
		}
		list = append(list, &t)
	}
	for _, f := range files {
		add(target{path: f})
	}
	for _, d := range dirs {
		add(target{path: d.Path, dir: true, suffix: d.Suffix})
	}
	return list
}

// Close stops watching. Changed is not called again once it has returned.
func (w *Watcher) Close() {
	w.once.Do(func() { close(w.closing) })
	<-w.closed
}

// run waits for events and for the time to poll, until Close.
func (w *Watcher) run() {
	defer close(w.closed)
	defer w.mounts.close()
	defer w.shut()
	poll := time.NewTicker(w.opt.Poll)
	defer poll.Stop()
	s := newSettling(w.opt.Debounce, w.opt.MaxDelay)
	defer s.timer.Stop()
	for {
		src, events, errs := w.source()
		select {
		case <-w.closing:
			return
		case e, ok := <-events:
			if (!ok && w.drop(src, fsnotify.ErrClosed)) || (ok && w.concerns(e)) {
				s.touch()
			}
		case err, ok := <-errs:
			if (!ok && w.drop(src, fsnotify.ErrClosed)) || (ok && w.fault(src, err)) {
				s.touch()
			}
		case <-w.mounts.events():
			w.remounted()
			s.touch()
		case <-w.kick:
			if w.pending() {
				s.touch()
			}
		case <-poll.C:
			if w.poll() {
				s.touch()
			}
		case <-s.timer.C:
			w.settle(s)
		}
	}
}

// settle looks, and reports what has changed unless it still moves.
func (w *Watcher) settle(s *settling) {
	w.work.Lock()
	moving := w.look()
	if moving && s.again() {
		w.work.Unlock()
		return
	}
	s.done()
	changed := w.take()
	w.work.Unlock()
	select {
	case <-w.closing:
		return
	default:
	}
	if len(changed) > 0 {
		w.opt.Log.Debug("files changed", "paths", changed)
		w.opt.Changed(changed)
	}
}

// poll looks without having been told to, and reports whether there is a change.
// It is not told at once: what writes a file may be in the middle of it.
func (w *Watcher) poll() bool {
	w.work.Lock()
	defer w.work.Unlock()
	w.arms.doubt()
	clear(w.arms.noise)
	w.overflowed = false
	w.look()
	return w.differs()
}

// remounted has every directory armed again: the same path may lead to another one.
func (w *Watcher) remounted() {
	w.work.Lock()
	defer w.work.Unlock()
	w.arms.doubt()
}

func (w *Watcher) pending() bool {
	w.work.Lock()
	defer w.work.Unlock()
	return w.differs()
}

func (w *Watcher) differs() bool {
	return slices.ContainsFunc(w.targets, (*target).changed)
}

// take returns the paths that changed and counts them as told.
func (w *Watcher) take() []string {
	var paths []string
	now := time.Now()
	for _, t := range w.targets {
		if t.changed() {
			t.told = t.seen
			t.lastChange = now
			paths = append(paths, t.path)
		}
	}
	if paths != nil {
		w.mu.Lock()
		w.state.Changes += uint64(len(paths))
		w.state.LastChange = now
		w.mu.Unlock()
		w.publish()
	}
	return slices.Compact(paths)
}
