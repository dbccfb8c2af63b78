package watch

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// patience is for the kernel on a busy machine; nothing waits that long when all is well.
const patience = 20 * time.Second

// live is a Watcher on the real inotify that never polls.
type live struct {
	*bench
	reports chan []string
	wanted  []string // so far
}

func watchLive(t *testing.T, b *bench, files []string, dirs ...Dir) *live {
	t.Helper()
	l := &live{bench: b, reports: make(chan []string, 100)}
	o := Options{
		Files:    b.paths(files...),
		Changed:  func(paths []string) { l.reports <- paths },
		Debounce: 100 * time.Millisecond,
		MaxDelay: 2 * time.Second,
		Poll:     time.Hour,
	}
	for _, d := range dirs {
		o.Dirs = append(o.Dirs, Dir{Path: b.path(d.Path), Suffix: d.Suffix})
	}
	b.Watcher = New(o)
	t.Cleanup(b.Close)
	for _, p := range b.State().Paths {
		if p.How != Inotify {
			t.Fatalf("%s is not watched by inotify: %s", p.Path, p.Why)
		}
	}
	return l
}

// wantReport waits until all paths have been reported. None may be reported that
// the test has never changed.
func (l *live) wantReport(names ...string) {
	l.t.Helper()
	missing := l.paths(names...)
	l.wanted = append(l.wanted, missing...)
	late := time.After(patience)
	for len(missing) > 0 {
		select {
		case got := <-l.reports:
			for _, p := range got {
				if !slices.Contains(l.wanted, p) {
					l.t.Fatalf("report of %s, which did not change; waiting for %q", p, missing)
				}
				missing = slices.DeleteFunc(missing, func(m string) bool { return m == p })
			}
		case <-late:
			l.t.Fatalf("no report of %q; state %+v", missing, l.State())
		}
	}
}

// wantContent checks what a path leads to, so that a test cannot swap things in vain.
func (l *live) wantContent(name, want string) {
	l.t.Helper()
	got, err := os.ReadFile(l.path(name))
	if err != nil || string(got) != want {
		l.t.Fatalf("%s holds %q, %v; want %q", name, got, err, want)
	}
}

// replace writes a file beside the named one and renames it over.
func (l *live) replace(name, text string) {
	l.t.Helper()
	l.write(name+".tmp", text)
	l.must(os.Rename(l.path(name+".tmp"), l.path(name)))
}

// turn replaces a symbolic link at once.
func (l *live) turn(link, to string) {
	l.t.Helper()
	l.must(os.Symlink(to, l.path(link)+".tmp"))
	l.must(os.Rename(l.path(link)+".tmp", l.path(link)))
}

func TestInotifySeesAFileReplaced(t *testing.T) {
	t.Parallel()
	l := watchLive(t, newBench(t, "crt", "key"), []string{"crt", "key"})
	for i := range 5 {
		l.replace("crt", fmt.Sprint("crt", i))
		l.replace("key", fmt.Sprint("key", i))
		l.wantReport("crt", "key")
	}
}

func TestInotifySeesAFileWrittenInPlace(t *testing.T) {
	t.Parallel()
	l := watchLive(t, newBench(t, "crt"), []string{"crt"})
	for i := range 3 {
		l.write("crt", fmt.Sprint(i))
		l.wantReport("crt")
	}
}

func TestInotifySeesAModeRepaired(t *testing.T) {
	t.Parallel()
	l := watchLive(t, newBench(t, "key"), []string{"key"})
	for _, mode := range []os.FileMode{0o644, 0o600, 0} {
		l.must(os.Chmod(l.path("key"), mode))
		l.wantReport("key")
	}
}

func TestInotifySeesAFileThatGoesAndComes(t *testing.T) {
	t.Parallel()
	l := watchLive(t, newBench(t, "crt"), []string{"crt"})
	for i := range 3 {
		l.must(os.Remove(l.path("crt")))
		l.wantReport("crt")
		l.write("crt", fmt.Sprint(i))
		l.wantReport("crt")
	}
}

func TestInotifySeesTheDataLinkOfKubernetesTurn(t *testing.T) {
	t.Parallel()
	b := newBench(t, "..1/crt", "..1/key")
	for link, to := range map[string]string{"..data": "..1", "crt": "..data/crt", "key": "..data/key"} {
		b.must(os.Symlink(to, b.path(link)))
	}
	l := watchLive(t, b, []string{"crt", "key"})
	for i := 2; i < 6; i++ {
		dir := fmt.Sprintf("..%d", i)
		l.write(dir+"/crt", dir)
		l.write(dir+"/key", dir)
		l.turn("..data", dir)
		l.must(os.RemoveAll(l.path(fmt.Sprintf("..%d", i-1))))
		l.wantContent("crt", dir)
		l.wantReport("crt", "key")
	}
}

func TestInotifySeesTheLinksOfCertbotTurn(t *testing.T) {
	t.Parallel()
	b := newBench(t, "archive/x/crt1", "archive/x/key1")
	b.must(os.MkdirAll(b.path("live/x"), 0o755))
	b.must(os.Symlink("../../archive/x/crt1", b.path("live/x/crt")))
	b.must(os.Symlink("../../archive/x/key1", b.path("live/x/key")))
	l := watchLive(t, b, []string{"live/x/crt", "live/x/key"})
	for i := 2; i < 5; i++ {
		for _, kind := range []string{"crt", "key"} {
			file := fmt.Sprint("archive/x/", kind, i)
			l.write(file, file)
			l.must(os.Remove(l.path("live/x/" + kind)))
			l.must(os.Symlink("../../"+file, l.path("live/x/"+kind)))
		}
		l.wantReport("live/x/crt", "live/x/key")
	}
	l.write("archive/x/crt4", "in place, behind the link")
	l.wantReport("live/x/crt")
}

func TestInotifySeesALinkToADirectoryTurn(t *testing.T) {
	t.Parallel()
	b := newBench(t, "releases/0/tls/crt")
	b.must(os.Symlink("releases/0", b.path("current")))
	l := watchLive(t, b, []string{"current/tls/crt"})
	for i := 1; i < 5; i++ {
		dir := fmt.Sprint("releases/", i)
		l.write(dir+"/tls/crt", dir)
		l.turn("current", dir)
		l.wantContent("current/tls/crt", dir)
		l.wantReport("current/tls/crt")
	}
	l.replace("releases/4/tls/crt", "behind the link")
	l.wantReport("current/tls/crt")
}

func TestInotifySeesADirectoryReplaced(t *testing.T) {
	t.Parallel()
	l := watchLive(t, newBench(t, "etc/tls/crt"), []string{"etc/tls/crt"})
	for i := range 4 {
		for _, dir := range []string{"etc/tls", "etc"} {
			old, next := fmt.Sprint("old", i, filepath.Base(dir)), fmt.Sprint("next", i)
			text := fmt.Sprint(dir, i)
			l.write(filepath.Join(next, strings.TrimPrefix("etc/tls/crt", dir)), text)
			l.must(os.Rename(l.path(dir), l.path(old)))
			l.must(os.Rename(l.path(next), l.path(dir)))
			l.wantContent("etc/tls/crt", text)
			l.wantReport("etc/tls/crt")
		}
	}
}

func TestInotifySeesADirectoryRemovedAndMadeAgain(t *testing.T) {
	t.Parallel()
	l := watchLive(t, newBench(t, "etc/tls/crt"), []string{"etc/tls/crt"})
	for i := range 4 {
		l.must(os.RemoveAll(l.path("etc")))
		l.write("etc/tls/crt", fmt.Sprint(i))
		l.wantReport("etc/tls/crt")
		l.must(os.RemoveAll(l.path("etc")))
		l.wantReport("etc/tls/crt")
		l.write("etc/tls/crt", fmt.Sprint("again", i))
		l.wantReport("etc/tls/crt")
	}
}

func TestInotifySeesADirectoryMovedUnderALinkThatFollows(t *testing.T) {
	t.Parallel()
	b := newBench(t, "a/crt")
	b.must(os.Symlink("a", b.path("current")))
	l := watchLive(t, b, []string{"current/crt"})
	names := []string{"a", "b"}
	for i := range 4 {
		from, to := names[i%2], names[(i+1)%2]
		l.must(os.Rename(l.path(from), l.path(to)))
		l.turn("current", to)
		l.replace(to+"/crt", fmt.Sprint(i))
		l.wantReport("current/crt")
		l.replace(to+"/crt", fmt.Sprint("again", i))
		l.wantReport("current/crt")
	}
}

func TestInotifySeesTheConfigurationDirectory(t *testing.T) {
	t.Parallel()
	b := newBench(t, "elsewhere/x")
	l := watchLive(t, b, nil, Dir{Path: "conf.d", Suffix: ".toml"})
	l.write("conf.d/a.toml", "1")
	l.wantReport("conf.d")
	l.replace("conf.d/a.toml", "2")
	l.wantReport("conf.d")
	l.must(os.Symlink("../elsewhere/x", l.path("conf.d/b.toml")))
	l.wantReport("conf.d")
	l.replace("elsewhere/x", "3")
	l.wantReport("conf.d")
	l.must(os.Remove(l.path("conf.d/a.toml")))
	l.wantReport("conf.d")
}

func TestHundredsOfQuickWritesAreFewReports(t *testing.T) {
	t.Parallel()
	l := watchLive(t, newBench(t, "crt", "end"), []string{"crt", "end"})
	for i := range 500 {
		l.write("crt", fmt.Sprint(i))
	}
	l.write("end", "x")
	reports, late := 0, time.After(patience)
	for ended := false; !ended; {
		select {
		case got := <-l.reports:
			reports++
			ended = slices.Contains(got, l.path("end"))
		case <-late:
			t.Fatal("the last write is not reported")
		}
	}
	if reports > 20 {
		t.Errorf("%d reports of 500 writes", reports)
	}
}

func TestInotifyStaysQuietWhenNothingHasChanged(t *testing.T) {
	t.Parallel()
	l := watchLive(t, newBench(t, "crt", "end"), []string{"crt", "end"})
	for range 3 {
		l.replace("crt", "crt") // the same again
	}
	l.replace("end", "x")
	l.wantReport("end")
}

func TestSetFollowsTheFilesOfAReload(t *testing.T) {
	t.Parallel()
	l := watchLive(t, newBench(t, "one/crt", "two/crt"), []string{"one/crt"})
	l.Set(l.paths("two/crt"), nil)
	l.replace("one/crt", "x")
	l.replace("two/crt", "x")
	l.wantReport("two/crt")
}

func TestADirectoryWithoutReadPermissionIsPolled(t *testing.T) {
	t.Parallel()
	if os.Geteuid() == 0 {
		t.Skip("SKIP root may read every directory")
	}
	b := newBench(t, "private/key")
	b.must(os.Chmod(b.path("private"), 0o711&^0o400))
	t.Cleanup(func() { os.Chmod(b.path("private"), 0o700) })
	b.Watcher = New(Options{Files: b.paths("private/key")})
	t.Cleanup(b.Close)
	b.wantHow("private/key", Polling, "no permission to read directory")
	if e := b.state("private/key").Error; e != "" {
		t.Errorf("the file itself can be read, but: %s", e)
	}
}
