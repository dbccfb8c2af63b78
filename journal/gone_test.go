package journal

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/mtlsproxy/mtlsproxy/tlsclient/tlstest/leak"
)

// What was written is gone with the directory; what comes is kept in a new one, which belongs to this log alone.
func TestLogMakesARemovedDirectoryAgain(t *testing.T) {
	leak.Check(t)
	for name, again := range map[string]func(string) error{
		"removed":  os.RemoveAll,
		"replaced": func(dir string) error { return os.Rename(dir, dir+".moved") },
	} {
		t.Run(name, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "log")
			l := open(t, Options{Directory: dir})
			tr := newTraffic(1)
			fill(t, l, tr, 100)
			eventually(t, "the records to be written", func() bool { return l.Stats().Written == 100 })
			if err := again(dir); err != nil {
				t.Fatal(err)
			}
			fill(t, l, tr, 50)
			eventually(t, "the log to go on", func() bool { s := l.Stats(); return s.Err == "" && s.Written == 150 })
			if n := len(query(t, l, Query{})); n != 50 {
				t.Errorf("%d records in the new directory, want 50", n)
			}
			other := Open(Options{Directory: dir})
			defer other.Close()
			eventually(t, "another log to be kept out", func() bool { return other.Stats().Err != "" })
		})
	}
}
