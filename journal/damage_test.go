package journal

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"
)

func mendChecksum(b []byte) {
	body := b[:len(b)-4]
	binary.LittleEndian.PutUint32(b[len(body):], crc32.Checksum(body, castagnoli))
}

// sample returns the bytes of a closed segment with n records.
func sample(t testing.TB, n int) []byte {
	t.Helper()
	dir := t.TempDir()
	l := open(t, Options{Directory: dir})
	fill(t, l, newTraffic(1), n)
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(filepath.Join(dir, "requests-00000001-0.db"))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func damage(b []byte, seed uint64) []byte {
	rnd := rand.New(rand.NewPCG(seed, 9))
	b = append([]byte(nil), b...)
	page := os.Getpagesize()
	switch seed % 5 {
	case 0: // headers of pages
		for range 1 + rnd.IntN(8) {
			at := rnd.IntN(len(b)/page) * page
			b[at+rnd.IntN(48)] ^= byte(1 + rnd.IntN(255))
		}
	case 1: // anywhere
		for range 1 + rnd.IntN(200) {
			b[rnd.IntN(len(b))] ^= byte(1 + rnd.IntN(255))
		}
	case 2: // whole pages
		for range 1 + rnd.IntN(4) {
			at := rnd.IntN(len(b)/page) * page
			for i := range page {
				b[at+i] = byte(rnd.Uint32())
			}
		}
	case 3: // pages in each other's place
		x, y := rnd.IntN(len(b)/page)*page, rnd.IntN(len(b)/page)*page
		copy(b[x:x+page], b[y:y+page])
	case 4:
		b = b[:rnd.IntN(len(b))]
	}
	return b
}

// serve opens a log on a directory with a damaged first segment, and uses it.
func serve(t *testing.T, dir string) {
	t.Helper()
	l := open(t, Options{Directory: dir})
	tr := newTraffic(2)
	fill(t, l, tr, 100)
	for range 2 {
		err := l.Query(context.Background(), Query{}, func(*Record) error { return nil })
		if err != nil && !errors.Is(err, ErrIncomplete) {
			t.Errorf("query: %v", err)
		}
	}
	if got := query(t, l, Query{Newest: true, Limit: 100}); len(got) != 100 {
		t.Errorf("%d of the new records are found", len(got))
	}
	if s := l.Stats(); s.Err != "" || s.Dropped > 0 {
		t.Errorf("%d dropped, %s", s.Dropped, s.Err)
	}
	if err := l.Close(); err != nil {
		t.Error(err)
	}
}

func TestDamagedPagesAreErrors(t *testing.T) {
	whole := sample(t, 9000)
	for seed := range uint64(25) {
		dir := t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, "requests-00000001-0.db"), damage(whole, seed), 0o600); err != nil {
			t.Fatal(err)
		}
		serve(t, dir)
	}
}

func TestWhatIsNoSegmentIsPutAside(t *testing.T) {
	whole := sample(t, 100)
	for name, content := range map[string][]byte{
		"text": []byte("this is no segment, just some words that stand in a file"), "empty": nil,
		"zeroes": make([]byte, 65536), "half": whole[:len(whole)/2], "one page": whole[:4096],
	} {
		dir := t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, "requests-00000007-0.db"), content, 0o600); err != nil {
			t.Fatal(err)
		}
		serve(t, dir)
		l := open(t, Options{Directory: dir})
		eventually(t, "it is named", func() bool { return len(l.Stats().Quarantined) == 1 })
		q := l.Stats().Quarantined[0]
		if q.Name != "requests-00000007-0.db" || q.Why == "" || q.Time.IsZero() || q.Size != int64(len(content)) {
			t.Errorf("%s: %+v", name, q)
		}
		if got, err := os.ReadFile(filepath.Join(dir, "quarantine", q.Name)); err != nil || len(got) != len(content) {
			t.Errorf("%s: %d bytes are kept aside, %v", name, len(got), err)
		}
		l.Close()
	}
}

func TestOneDamagedBlockCostsItsOwnRecordsOnly(t *testing.T) {
	dir := t.TempDir()
	name := filepath.Join(dir, "requests-00000001-0.db")
	whole := sample(t, 5*maxRows)
	if err := os.WriteFile(name, whole, 0o600); err != nil {
		t.Fatal(err)
	}
	s, err := openSegment(name)
	if err != nil {
		t.Fatal(err)
	}
	block, err := s.block(2 * maxRows)
	s.close()
	if err != nil {
		t.Fatal(err)
	}
	// An older copy may stand in a page that is free.
	for at := bytes.Index(whole, block); at >= 0; at = bytes.Index(whole, block) {
		whole[at+len(block)/2] ^= 0xff
	}
	if err := os.WriteFile(name, whole, 0o600); err != nil {
		t.Fatal(err)
	}
	l := open(t, Options{Directory: dir})
	eventually(t, "it is read", func() bool { return len(l.Stats().Segments) == 1 })
	found := 0
	err = l.Query(t.Context(), Query{}, func(*Record) error { found++; return nil })
	if !errors.Is(err, ErrIncomplete) {
		t.Fatalf("got %v", err)
	}
	if found != 4*maxRows {
		t.Errorf("%d of %d records are found, want %d", found, 5*maxRows, 4*maxRows)
	}
	eventually(t, "it is put aside", func() bool { return len(l.Stats().Quarantined) == 1 })
	eventually(t, "what can be read is kept", func() bool { return len(l.Stats().Segments) == 1 })
	if got := len(query(t, l, Query{})); got != found {
		t.Errorf("%d records are found after mending, %d before", got, found)
	}
}

func FuzzSegment(f *testing.F) {
	whole := sample(f, 300)
	f.Add(uint32(4096), []byte{1})
	f.Add(uint32(20480), []byte{0xff, 0xff, 0xff, 0xff})
	path := filepath.Join(f.TempDir(), "s")
	f.Fuzz(func(t *testing.T, at uint32, patch []byte) {
		b := append([]byte(nil), whole...)
		copy(b[int(at)%len(b):], patch)
		if err := os.WriteFile(path, b, 0o600); err != nil {
			t.Fatal(err)
		}
		s, err := openSegment(path)
		if err != nil {
			t.Fatal(err)
		}
		defer s.close()
		c, _ := s.contents()
		for _, p := range c.blocks {
			_, _ = s.block(p.row) // an error, never a panic
		}
	})
}

func TestWhatANewerVersionWroteStaysWhereItIs(t *testing.T) {
	dir := t.TempDir()
	name := filepath.Join(dir, "requests-00000001-0.db")
	whole := bytes.ReplaceAll(sample(t, 100), formatName, []byte(formatPrefix+"9"))
	if err := os.WriteFile(name, whole, 0o600); err != nil {
		t.Fatal(err)
	}
	l := open(t, Options{Directory: dir})
	err := l.Query(t.Context(), Query{}, func(*Record) error { return nil })
	if !errors.Is(err, ErrIncomplete) || !errors.Is(err, errNewer) {
		t.Errorf("got %v", err)
	}
	fill(t, l, newTraffic(1), 10)
	s := l.Stats()
	if len(s.Quarantined) > 0 || len(s.Segments) != 2 || s.Segments[0].Problem == "" {
		t.Errorf("%+v", s)
	}
	if got, err := os.ReadFile(name); err != nil || !bytes.Equal(got, whole) {
		t.Errorf("it was changed: %v", err)
	}
}
