package watch

import (
	"fmt"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"
)

func fileStamp(path string) stamp { return (&target{path: path}).read() }

func TestAFIFOIsNotOpened(t *testing.T) {
	b := newBench(t)
	b.must(syscall.Mkfifo(b.path("fifo"), 0o600))
	if s := fileStamp(b.path("fifo")); !strings.Contains(s.err, "not a regular file") {
		t.Errorf("error %q", s.err)
	}
	if s := (&target{path: b.path("fifo"), dir: true}).read(); s.err == "" {
		t.Error("a FIFO passes for a directory")
	}
}

func TestOnlySoMuchIsReadOfAFile(t *testing.T) {
	b := newBench(t, "big")
	b.must(os.Truncate(b.path("big"), 1<<40)) // a hole, but reading it takes an hour
	first := fileStamp(b.path("big"))
	if first.err != "" || first != fileStamp(b.path("big")) {
		t.Fatalf("two looks at a file that stays: %+v, %+v", first, fileStamp(b.path("big")))
	}
	b.must(os.Chtimes(b.path("big"), time.Time{}, time.Unix(1, 0)))
	if first == fileStamp(b.path("big")) {
		t.Error("a change that may lie beyond what is read goes unnoticed")
	}
}

func TestOnlySoMuchIsReadOfADirectory(t *testing.T) {
	b := newBench(t, "d/1", "d/2", "d/3")
	for _, n := range []string{"d/1", "d/2", "d/3"} {
		b.must(os.Truncate(b.path(n), 1<<40))
	}
	d := &target{path: b.path("d"), dir: true}
	if s := d.read(); s.err != "" || s.entries != 3 {
		t.Errorf("stamp %+v", s)
	}
	for i := range maxEntries {
		b.write(fmt.Sprint("d/x", i), "")
	}
	if s := d.read(); !strings.Contains(s.err, "more than 4096 files") {
		t.Errorf("error %q for too many files", s.err)
	}
}

func TestTheFilesOfADirectoryShareWhatIsRead(t *testing.T) {
	b := newBench(t, "d/1", "d/2")
	d := &target{path: b.path("d"), dir: true}
	var last stamp
	for _, c := range []struct {
		touch   string
		changes bool
	}{{"d/1", true}, {"d/1", false}, {"d/2", true}} {
		b.must(os.Truncate(b.path(c.touch), 5<<20))
		b.must(os.Chtimes(b.path(c.touch), time.Time{}, time.Now()))
		if s := d.read(); (s != last) != c.changes {
			t.Errorf("touching %s is a change: %t", c.touch, s != last)
		}
		last = d.read()
	}
	b.must(os.Chtimes(b.path("d/2"), time.Time{}, time.Unix(1, 0)))
	if d.read() == last {
		t.Error("the second file, not read whole, goes unnoticed when it is touched")
	}
}

func TestTheOwnerCounts(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("SKIP only root can give files away")
	}
	b := newBench(t, "a")
	before := fileStamp(b.path("a"))
	b.must(os.Chown(b.path("a"), 1, -1))
	after := fileStamp(b.path("a"))
	b.must(os.Chown(b.path("a"), 1, 1))
	if last := fileStamp(b.path("a")); before == after || after == last {
		t.Error("an owner changed, and the stamp did not")
	}
}

func TestAFileThatMayNotBeReadHasItsReason(t *testing.T) {
	if os.Geteuid() == 0 {
		t.Skip("SKIP root may read every file")
	}
	b := newBench(t, "a")
	before := fileStamp(b.path("a"))
	b.must(os.Chmod(b.path("a"), 0))
	closed := fileStamp(b.path("a"))
	if !strings.Contains(closed.err, "permission denied") {
		t.Errorf("error %q", closed.err)
	}
	b.must(os.Chmod(b.path("a"), 0o600))
	if before != fileStamp(b.path("a")) {
		t.Error("the repaired file is not as it was")
	}
}
