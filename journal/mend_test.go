package journal

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"runtime"
	"testing"
	"time"
)

// newStore returns the store of a directory, as a writer has it.
func newStore(t *testing.T, dir string) *store {
	t.Helper()
	w := &writer{l: &Log{o: Options{Directory: dir, Log: slog.New(slog.DiscardHandler), Now: time.Now}}}
	w.l.limits.Store(&Limits{SegmentSize: 64 << 20, MaxSize: 1 << 30})
	if err := w.prepare(); err != nil {
		t.Fatal(err)
	}
	return w.store
}

// withTail makes a segment with a tail of some parts, of which one is damaged.
func withTail(t *testing.T, s *store, parts, bad int) *segment {
	t.Helper()
	seg := &segment{number: 1, own: true, base: 1000, records: int64(parts * tailPart)}
	a, err := createActive(s.path(seg.name()), 1<<20, s.encoder, start)
	if err != nil {
		t.Fatal(err)
	}
	tr := newTraffic(1)
	var r Record
	for range parts {
		var raw []byte
		for range tailPart {
			tr.next(&r)
			raw = appendRaw(raw, &r)
		}
		if err := a.add([]view{{raw, tailPart}}); err != nil {
			t.Fatal(err)
		}
	}
	if err := a.close(false); err != nil {
		t.Fatal(err)
	}
	f, err := openSegment(s.path(seg.name()))
	if err != nil {
		t.Fatal(err)
	}
	c, err := f.contents()
	f.close()
	if err != nil || len(c.tail) != parts {
		t.Fatalf("%d parts, %v", len(c.tail), err)
	}
	b, err := os.ReadFile(s.path(seg.name()))
	if err != nil {
		t.Fatal(err)
	}
	part := c.tail[bad].data
	for at := bytes.Index(b, part); at >= 0; at = bytes.Index(b, part) {
		b[at+len(part)/2] ^= 0xff
	}
	if err := os.WriteFile(s.path(seg.name()), b, 0o600); err != nil {
		t.Fatal(err)
	}
	seg.size = int64(len(b))
	s.segments = []*segment{seg}
	return seg
}

func TestRecordsKeepTheirNumbersBehindADamagedPartOfTheTail(t *testing.T) {
	const parts = 5
	for bad := range parts {
		s := newStore(t, t.TempDir())
		s.mend(withTail(t, s, parts, bad), damaged("for the test"))
		if len(s.segments) != 1 || s.segments[0].base != 1000 || !s.segments[0].own || s.segments[0].records != (parts-1)*tailPart {
			t.Fatalf("part %d: %+v", bad, s.segments)
		}
		f, err := openSegment(s.path(s.segments[0].name()))
		if err != nil {
			t.Fatal(err)
		}
		defer f.close()
		c, err := f.contents()
		if err != nil {
			t.Fatal(err)
		}
		for _, p := range c.blocks {
			block, err := f.block(p.row)
			if err != nil {
				t.Fatal(err)
			}
			c.tail = append(c.tail, packedBlock{p.row, block})
		}
		b := newBuilder()
		for _, p := range c.tail {
			if err := errors.Join(s.decoder.load(p.data), b.load(s.decoder)); err != nil {
				t.Fatal(err)
			}
			for i := range s.decoder.rows {
				if want := fmt.Sprintf("7f3a90c1d2e4%012x", int(p.row)+i+1); string(b.row(uint16(i)).ID) != want {
					t.Fatalf("part %d: record %d is %s, want %s", bad, int(p.row)+i, b.record.ID, want)
				}
			}
		}
	}
}

func TestACopyThatCannotBeWrittenCostsNothingOfTheOriginal(t *testing.T) {
	s := newStore(t, t.TempDir())
	seg := withTail(t, s, 5, 0)
	t.Cleanup(func() { runtime.GC(); runtime.GC() }) // closes what a panic leaves open
	encoder := s.encoder
	s.encoder = nil // writing panics, as on a page that bbolt does not understand
	s.mend(seg, damaged("for the test"))
	if len(s.quarantined) > 0 || len(s.segments) != 1 || s.segments[0].problem == "" || !exists(s.path(seg.name())) {
		t.Fatalf("put aside: %+v, left: %+v", s.quarantined, s.segments)
	}
	if s.leaks != 1 {
		t.Errorf("%d files were left open, want one", s.leaks)
	}
	s.encoder = encoder
	s.mend(s.segments[0], damaged("for the test"))
	if len(s.quarantined) != 1 || len(s.segments) != 1 || s.segments[0].records != 4*tailPart {
		t.Errorf("put aside: %+v, left: %+v", s.quarantined, s.segments)
	}
	if left, err := filepath.Glob(s.path("*" + newSuffix)); err != nil || len(left) > 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}
