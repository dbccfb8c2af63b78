package identity

import (
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/mtlsproxy/mtlsproxy/service/watch"
)

// Tender has identities tried when their files change, when somebody asks for it, and
// when they are due.
type Tender struct {
	// Try has the named identities tried, and what is found taken. It returns when
	// that is done, or will not be.
	Try func(names []string)

	// Log is told how files are watched.
	Log *slog.Logger

	mu         sync.Mutex
	identities []*Identity
	every      time.Duration
	another    bool // identities and every are not watched yet
	asked      map[string]struct{}
	kick       chan struct{} // capacity 1: asked, identities or every is another
	closing    chan struct{}
	running    sync.WaitGroup
	watchers   atomic.Pointer[map[string]*watch.Watcher] // one for each, so that none waits for another to be still
	polled     time.Duration                             // by the watcher
}

// Start begins to tend. Nothing but Close may come before it or after its end.
func (t *Tender) Start() {
	t.mu.Lock()
	t.asked, t.kick, t.closing = make(map[string]struct{}), make(chan struct{}, 1), make(chan struct{})
	t.mu.Unlock()
	t.running.Go(t.run)
}

// Set replaces the identities. Each of them is tried as soon as it is watched, since its
// files may have changed before; every is how often they are tried after that. It waits
// for no disk.
func (t *Tender) Set(identities []*Identity, every time.Duration) {
	t.mu.Lock()
	t.identities, t.every, t.another = identities, every, true
	t.mu.Unlock()
	t.wake()
}

// watch watches the files of another set of identities.
func (t *Tender) watch() {
	t.mu.Lock()
	identities, every, another := t.identities, t.every, t.another
	t.another = false
	t.mu.Unlock()
	if !another {
		return
	}
	old, next := t.all(), make(map[string]*watch.Watcher)
	for _, i := range identities {
		name := i.Name()
		if w := old[name]; w != nil && t.polled == every {
			w.Set(i.Files(), nil)
			next[name] = w
			continue
		}
		next[name] = watch.New(watch.Options{Files: i.Files(), Poll: every, Changed: func([]string) { t.Ask(name) }, Log: t.Log})
	}
	t.polled = every
	t.watchers.Store(&next)
	for name, w := range old {
		if next[name] != w {
			w.Close()
		}
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	for name := range next {
		t.asked[name] = struct{}{}
	}
}

// all are the watchers by the name of the identity.
func (t *Tender) all() map[string]*watch.Watcher {
	if m := t.watchers.Load(); m != nil {
		return *m
	}
	return nil
}

// Ask has an identity tried soon.
func (t *Tender) Ask(name string) {
	t.mu.Lock()
	t.asked[name] = struct{}{}
	t.mu.Unlock()
	t.wake()
}

// Watched returns how the files are watched.
func (t *Tender) Watched() watch.State {
	var sum watch.State
	for _, w := range t.all() {
		s := w.State()
		sum.Paths = append(sum.Paths, s.Paths...)
		if sum.LastLook.IsZero() || s.LastLook.Before(sum.LastLook) {
			sum.LastLook, sum.Looking = s.LastLook, s.Looking
		}
	}
	return sum
}

// Close ends it. Try is not called again once it has returned.
func (t *Tender) Close() {
	close(t.closing)
	t.running.Wait()
	for _, w := range t.all() {
		w.Close()
	}
}

func (t *Tender) wake() {
	select {
	case t.kick <- struct{}{}:
	default: // it is about to look
	}
}

// least is how long it waits between two looks at what is due.
const least = 50 * time.Millisecond

func (t *Tender) run() {
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	for {
		t.watch()
		names, next := t.due(time.Now())
		if len(names) > 0 {
			t.Try(names)
		}
		timer.Reset(max(time.Until(next), least)) // Try may not have tried
		select {
		case <-t.closing:
			return
		case <-t.kick:
		case <-timer.C:
		}
	}
}

// due returns who is to be tried now, and when the next one will be.
func (t *Tender) due(now time.Time) (names []string, next time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	next = now.Add(time.Hour)
	for _, i := range t.identities {
		at := i.Due(t.every)
		if _, asked := t.asked[i.Name()]; asked || !at.After(now) {
			names = append(names, i.Name())
			at = now // to be seen after the try
		}
		if at.Before(next) {
			next = at
		}
	}
	clear(t.asked)
	return names, next
}
