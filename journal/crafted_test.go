package journal

import (
	"context"
	"encoding/binary"
	"errors"
	"hash/fnv"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"
)

// A crafter makes files that bbolt would not: every checksum in them holds.
type crafter struct {
	t    *testing.T
	b    []byte
	page int
}

func newCrafter(t *testing.T) *crafter {
	return &crafter{t, sample(t, 20*maxRows), os.Getpagesize()}
}

func (c *crafter) ReadAt(b []byte, at int64) (int, error) {
	if at < 0 || at >= int64(len(c.b)) {
		return 0, fs.ErrInvalid
	}
	return copy(b, c.b[at:]), nil
}

func (c *crafter) Stat() (fs.FileInfo, error) { return os.Stat(".") } // its size does not matter here

// pointSummaries makes page id the top of the summaries.
func (c *crafter) pointSummaries(id uint64) {
	tr, err := openTree(c)
	if err != nil {
		c.t.Fatal(err)
	}
	root, err := tr.node(tr.root)
	if err != nil {
		c.t.Fatal(err)
	}
	n, i, err := root.find(bucketSummaries)
	if err != nil || n == nil {
		c.t.Fatal(err)
	}
	e := n.head[pageHeader+i*element:]
	pos := int(binary.NativeEndian.Uint32(e[4:]) + binary.NativeEndian.Uint32(e[8:]))
	binary.NativeEndian.PutUint64(c.b[int(n.at)+pageHeader+i*element+pos:], id)
}

// lie makes the meta pages tell of very many pages.
func (c *crafter) lie() {
	for _, at := range []int{0, c.page} {
		m := c.b[at+pageHeader:]
		binary.NativeEndian.PutUint64(m[40:], 1<<40)
		h := fnv.New64a()
		_, _ = h.Write(m[:metaSize-8])
		binary.NativeEndian.PutUint64(m[metaSize-8:], h.Sum64())
	}
}

// branch appends a page, all of whose children are one.
func (c *crafter) branch(child uint64) {
	p := make([]byte, c.page)
	binary.NativeEndian.PutUint64(p, uint64(len(c.b)/c.page))
	binary.NativeEndian.PutUint16(p[8:], branchPage)
	binary.NativeEndian.PutUint16(p[10:], 250)
	for k := range 250 {
		binary.NativeEndian.PutUint64(p[pageHeader+element*k+8:], child)
	}
	c.b = append(c.b, p...)
}

func (c *crafter) write() (dir string) {
	dir = c.t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "requests-00000001-0.db"), c.b, 0o600); err != nil {
		c.t.Fatal(err)
	}
	return dir
}

// serveSoon uses a log for which a damaged file is no more than that.
func serveSoon(t *testing.T, dir string) {
	t.Helper()
	l := open(t, Options{Directory: dir})
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	if err := l.Query(ctx, Query{}, func(*Record) error { return nil }); err != nil && !errors.Is(err, ErrIncomplete) {
		t.Fatalf("the log is stuck on one file: %v", err)
	}
	fill(t, l, newTraffic(1), 10)
	if q := l.Stats().Quarantined; len(q) != 1 {
		t.Errorf("put aside: %+v", q)
	}
}

func TestPagesInACircleDoNotStopTheLog(t *testing.T) {
	c := newCrafter(t)
	id := uint64(len(c.b) / c.page)
	c.branch(id)
	c.pointSummaries(id)
	c.lie()
	serveSoon(t, c.write())
}

func TestPagesWithManyParentsDoNotStopTheLog(t *testing.T) {
	c := newCrafter(t)
	first := uint64(len(c.b) / c.page)
	for k := range uint64(12) {
		c.branch(first + k + 1)
	}
	leaf := make([]byte, c.page)
	binary.NativeEndian.PutUint64(leaf, first+12)
	binary.NativeEndian.PutUint16(leaf[8:], leafPage)
	c.b = append(c.b, leaf...)
	c.pointSummaries(first)
	c.lie()
	serveSoon(t, c.write())
}

// overlap makes count summaries of size bytes, which all lie in the same place.
func (c *crafter) overlap(count, size int) {
	id := uint64(len(c.b) / c.page)
	p := make([]byte, c.page)
	binary.NativeEndian.PutUint64(p, id)
	binary.NativeEndian.PutUint16(p[8:], leafPage)
	binary.NativeEndian.PutUint16(p[10:], uint16(count))
	binary.NativeEndian.PutUint32(p[12:], 4096)
	for k := range count {
		e := p[pageHeader+element*k:]
		key := pageHeader + element*count + 8*k
		binary.BigEndian.PutUint64(p[key:], uint64(k))
		binary.NativeEndian.PutUint32(e[4:], uint32(key-pageHeader-element*k))
		binary.NativeEndian.PutUint32(e[8:], 8)
		binary.NativeEndian.PutUint32(e[12:], uint32(size))
	}
	c.b = append(append(c.b, p...), make([]byte, size+c.page)...)
	c.pointSummaries(id)
	c.lie()
}

func TestValuesInTheSamePlaceTakeNoMoreMemoryThanTheFile(t *testing.T) {
	for _, size := range []int{8 << 20, maxSummary} {
		c := newCrafter(t)
		c.overlap(128, size)
		f, err := openSegment(filepath.Join(c.write(), "requests-00000001-0.db"))
		if err != nil {
			t.Fatal(err)
		}
		defer f.close()
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		got, err := f.contents()
		runtime.ReadMemStats(&after)
		if !errors.Is(err, errDamaged) {
			t.Errorf("%d summaries, %v", len(got.blocks), err)
		}
		if n := after.TotalAlloc - before.TotalAlloc; n > 3*uint64(len(c.b)) {
			t.Errorf("a file of %d bytes takes %d of memory", len(c.b), n)
		}
	}
}

func TestBlocksInTheSamePlaceAreNotReadAgainAndAgain(t *testing.T) {
	f, err := openSegment(filepath.Join(newCrafter(t).write(), "requests-00000001-0.db"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.close()
	for range 100 {
		if _, err = f.block(0); err != nil {
			break
		}
	}
	if !errors.Is(err, errDamaged) {
		t.Errorf("one block was read a hundred times: %v", err)
	}
}

func TestATailOfTooMuchIsDamage(t *testing.T) {
	e, err := newEncoder(true)
	if err != nil {
		t.Fatal(err)
	}
	z, err := newUnpacker()
	if err != nil {
		t.Fatal(err)
	}
	s := &store{decoder: &decoder{zstd: z}}
	var rows, bytes contents
	var r Record
	newTraffic(1).next(&r)
	var small, large []byte
	for range maxRows {
		small = appendRaw(small, &Record{})
	}
	r.Path = []byte(strings.Repeat("a", maxPath))
	for range 200 {
		large = appendRaw(large, &r)
	}
	for i := range uint64(10) {
		for c, raw := range map[*contents][]byte{&rows: small, &bytes: large} {
			n := uint64(200)
			if c == &rows {
				n = maxRows
			}
			block, _, err := e.encode(i*n, raw)
			if err != nil {
				t.Fatal(err)
			}
			c.tail = append(c.tail, packedBlock{i * n, append([]byte(nil), block...)})
		}
	}
	for _, c := range []*contents{&rows, &bytes} {
		runs, err := s.unpackTail(c, 0)
		if !errors.Is(err, errDamaged) || len(runs) != 1 || runs[0].records > maxRows || len(runs[0].data) > 2*maxRaw {
			t.Errorf("%v, %d runs", err, len(runs))
		}
	}
}

func TestAFileLargerThanTheLogMayBeIsDeletedUnread(t *testing.T) {
	c := newCrafter(t)
	dir := c.write()
	if err := os.Truncate(filepath.Join(dir, "requests-00000001-0.db"), 1<<40); err != nil {
		t.Skipf("SKIP the file system has no files of a terabyte: %v", err)
	}
	older := filepath.Join(dir, "requests-00000000-0.db")
	if err := os.WriteFile(older, sample(t, 10), 0o600); err != nil {
		t.Fatal(err)
	}
	l := open(t, Options{Directory: dir})
	if got := len(query(t, l, Query{})); got != 10 || len(l.Stats().Quarantined) != 0 {
		t.Errorf("%d records, put aside: %+v", got, l.Stats().Quarantined)
	}
}
