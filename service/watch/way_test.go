package watch

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

func TestWalkFollowsEveryLink(t *testing.T) {
	b := newBench(t, "real/7/crt", "plain/crt", "x/y/z")
	b.must(os.Symlink("real/7", b.path("current")))
	b.must(os.Symlink(b.path("plain/crt"), b.path("absolute")))
	b.must(os.Symlink("loop", b.path("loop")))
	b.must(os.Symlink("../../plain", b.path("x/y/up")))
	b.must(os.Symlink("gone/crt", b.path("dangling")))
	for path, want := range map[string]struct{ dirs, names, end string }{
		"plain/crt":        {". plain", "plain crt", "plain/crt"},
		"plain//./crt":     {". plain", "plain crt", "plain/crt"},
		"current/crt":      {". . real real/7", "current real 7 crt", "real/7/crt"},
		"absolute":         {". . plain", "absolute plain crt", "plain/crt"},
		"x/y/up/crt":       {". x x/y . plain", "x y up plain crt", "plain/crt"},
		"current/../8/crt": {". . real real", "current real 7 8", ""},
		"dangling":         {". .", "dangling gone", ""},
		"plain/crt/more":   {". plain", "plain crt", ""},
		"missing/crt":      {".", "missing", ""},
		"plain":            {".", "plain", "plain"},
	} {
		y := walk(b.dir + "/" + path)
		var dirs []string
		for _, d := range y.dirs {
			if rel, err := filepath.Rel(b.dir, d); err == nil && !strings.HasPrefix(rel, "..") {
				dirs = append(dirs, rel)
			}
		}
		end := ""
		if y.end != "" {
			end, _ = filepath.Rel(b.dir, y.end)
		}
		// The names on the way to b.dir itself, of which absolute links go again.
		above := strings.Split(b.dir, "/")[1:]
		names := slices.DeleteFunc(y.names, func(n string) bool { return slices.Contains(above, n) })
		if strings.Join(dirs, " ") != want.dirs || strings.Join(names, " ") != want.names || end != want.end {
			t.Errorf("%s: %q %q %q, want %q", path, dirs, names, end, want)
		}
	}
	if y := walk(b.path("loop")); y.end != "" || len(y.dirs) > 1000 {
		t.Errorf("a loop ends at %q after %d directories", y.end, len(y.dirs))
	}
}

func TestWalkStartsFromTheWorkingDirectory(t *testing.T) {
	b := newBench(t, "sub/a")
	t.Chdir(b.dir)
	if y := walk("sub/a"); y.end != b.path("sub/a") {
		t.Errorf("ends at %q", y.end)
	}
}

func TestWalkWatchesFromTheRoot(t *testing.T) {
	if y := walk("/proc/self/status"); y.dirs[0] != "/" || y.names[0] != "proc" || y.end == "" {
		t.Errorf("way %+v", y)
	}
}
