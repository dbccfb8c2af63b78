package watch

import (
	"bytes"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/fsnotify/fsnotify"

	"github.com/mtlsproxy/mtlsproxy/tlsclient/tlstest/leak"
)

func TestMain(m *testing.M) { leak.Main(m) }

// kernel stands in for inotify: it sends the events that the test makes.
type kernel struct {
	events chan fsnotify.Event
	errors chan error

	mu     sync.Mutex
	onAdd  func(dir string)
	adds   map[string]int   // calls for each directory
	armed  map[string]bool  // now
	refuse map[string]error // what Add answers
	closed bool
}

func newKernel() *kernel {
	return &kernel{
		events: make(chan fsnotify.Event),
		errors: make(chan error),
		adds:   make(map[string]int),
		armed:  make(map[string]bool),
		refuse: make(map[string]error),
	}
}

func (k *kernel) Add(dir string) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	if err := k.refuse[dir]; err != nil {
		return err
	}
	if k.onAdd != nil {
		k.onAdd(dir)
	}
	k.adds[dir]++
	k.armed[dir] = true
	return nil
}

func (k *kernel) Remove(dir string) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	if !k.armed[dir] {
		return fsnotify.ErrNonExistentWatch
	}
	delete(k.armed, dir)
	return nil
}

func (k *kernel) Events() <-chan fsnotify.Event { return k.events }
func (k *kernel) Errors() <-chan error          { return k.errors }

func (k *kernel) Close() error {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.closed = true
	return nil
}

// watches returns the directories that are armed below root.
func (k *kernel) watches(root string) []string {
	k.mu.Lock()
	defer k.mu.Unlock()
	var list []string
	for _, d := range slices.Sorted(maps.Keys(k.armed)) {
		if rel, ok := strings.CutPrefix(d, root); ok {
			list = append(list, rel)
		}
	}
	return list
}

func (k *kernel) set(dir string, err error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.refuse[dir] = err
}

// bench is a Watcher over a kernel of the test's, in a bubble with its own clock.
type bench struct {
	*Watcher
	t      *testing.T
	dir    string
	kernel *kernel
	deny   string // a directory that the kernel refuses to watch
	why    error
	onAdd  func(dir string)
	log    bytes.Buffer

	mu      sync.Mutex
	reports [][]string
}

// run makes a Watcher for the files and directories, whose paths are relative to
// b.dir, and gives it to the test.
func run(t *testing.T, b *bench, files []string, test func(b *bench), dirs ...Dir) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		b.t = t
		b.kernel = newKernel() // here, since its channels belong to the bubble
		b.kernel.onAdd = b.onAdd
		if b.deny != "" {
			b.kernel.set(b.path(b.deny), b.why)
		}
		o := Options{
			Files: b.paths(files...),
			Log:   slog.New(slog.NewTextHandler(&b.log, nil)),
			Changed: func(paths []string) {
				b.mu.Lock()
				defer b.mu.Unlock()
				b.reports = append(b.reports, paths)
			},
		}
		for _, d := range dirs {
			o.Dirs = append(o.Dirs, Dir{Path: b.path(d.Path), Suffix: d.Suffix})
		}
		b.Watcher = start(o, func() (notifier, error) { return b.kernel, nil }, func(string) string { return "" }, nil)
		defer b.Close()
		synctest.Wait()
		test(b)
	})
}

// newBench makes the directory with its files; each holds its own name.
func newBench(t *testing.T, names ...string) *bench {
	t.Helper()
	dir, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	b := &bench{t: t, dir: dir}
	for _, n := range names {
		b.write(n, n)
	}
	return b
}

func (b *bench) path(name string) string { return filepath.Join(b.dir, name) }

func (b *bench) paths(names ...string) []string {
	var list []string
	for _, n := range names {
		list = append(list, b.path(n))
	}
	return list
}

func (b *bench) must(err error) {
	b.t.Helper()
	if err != nil {
		b.t.Fatal(err)
	}
}

func (b *bench) write(name, text string) {
	b.t.Helper()
	b.must(os.MkdirAll(filepath.Dir(b.path(name)), 0o755))
	b.must(os.WriteFile(b.path(name), []byte(text), 0o600))
}

// send delivers an event for a path and waits until it has been dealt with.
func (b *bench) send(name string, op fsnotify.Op) {
	b.t.Helper()
	select {
	case b.kernel.events <- fsnotify.Event{Name: b.path(name), Op: op}:
	case <-time.After(time.Second):
		b.t.Fatalf("nobody reads the event for %s", name)
	}
	synctest.Wait()
}

func (b *bench) fail(err error) {
	b.t.Helper()
	select {
	case b.kernel.errors <- err:
	case <-time.After(time.Second):
		b.t.Fatalf("nobody reads the error %v", err)
	}
	synctest.Wait()
}

// after lets time pass.
func (b *bench) after(d time.Duration) {
	<-time.After(d)
	synctest.Wait()
}

// want checks the reports since the last call.
func (b *bench) want(reports ...[]string) {
	b.t.Helper()
	b.mu.Lock()
	defer b.mu.Unlock()
	for i, r := range reports {
		reports[i] = b.paths(r...)
	}
	if !slices.EqualFunc(b.reports, reports, slices.Equal) {
		b.t.Errorf("reports %q, want %q", b.reports, reports)
	}
	b.reports = nil
}

// wantHow checks how a path is watched, and that the reason contains why.
func (b *bench) wantHow(name string, how How, why string) {
	b.t.Helper()
	p := b.state(name)
	if p.How != how || !strings.Contains(p.Why, why) || (why == "") != (p.Why == "") {
		b.t.Errorf("%s is watched by %s (%q), want %s (%q)", name, p.How, p.Why, how, why)
	}
}

func (b *bench) state(name string) Path {
	b.t.Helper()
	for _, p := range b.State().Paths {
		if p.Path == b.path(name) {
			return p
		}
	}
	b.t.Fatalf("no state for %s", name)
	return Path{}
}
