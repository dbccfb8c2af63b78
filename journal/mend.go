package journal

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"syscall"
	"time"
)

// mend copies what can be read of a damaged segment into a new one in its place, and puts
// the old one aside.
func (s *store) mend(seg *segment, why error) {
	s.retain(s.maxSize(), 0, copySize(seg.size), true)
	i := slices.Index(s.segments, seg)
	if i < 0 {
		return // it is gone already
	}
	next, err := s.copy(seg)
	switch {
	case errors.Is(err, errDamaged):
		s.putAside(seg, fmt.Sprintf("%v; its records could not be read: %v", why, err))
	case err != nil: // a full disk, say: it stays until there is room for the copy
		kept := *seg
		s.complain(&kept, fmt.Errorf("%w; copying what can be read of it: %w", why, err))
		s.segments[i] = &kept
		s.show()
	case next.records == 0:
		s.remove(next.name())
		s.putAside(seg, why.Error()+"; none of its records could be read")
	default:
		s.segments[i] = next
		s.putAside(seg, fmt.Sprintf("%v; %d of its records could be read and are kept", why, next.records))
	}
}

// copySize is about how large the copy of a segment becomes.
func copySize(size int64) int64 { return size + size/4 + 128<<10 }

// errCopy is about a copy, and says nothing of what was copied.
var errCopy = errors.New("writing a copy")

// ofCopy hides what else err is about: damage in a copy, or a directory that cannot be
// written, must not condemn the original.
func ofCopy(err error) error { return fmt.Errorf("%w: %s", errCopy, err.Error()) }

// copy makes a segment with the readable records of seg.
func (s *store) copy(seg *segment) (*segment, error) {
	if s.leaks >= maxLeaks {
		return nil, fmt.Errorf("%w failed too often in ways that cannot be cleaned up; restart mtlsproxyd", errCopy)
	}
	repair, err := s.nextRepair(seg.number)
	if err != nil {
		return nil, ofCopy(err)
	}
	next := &segment{number: seg.number, repair: repair, base: seg.base, own: seg.own}
	name := next.name() + newSuffix
	a, _, err := s.rewrite(seg, name, 0) // what is left out is why we are here
	if err != nil {
		s.remove(name)
		return nil, err
	}
	if size, _ := a.size(); size+a.growth(0, 0) > s.maxSize()-s.bytes() {
		err = a.close(false)
	} else if err = a.seal(); err != nil {
		s.letGo(a, err)
	}
	if err == nil {
		err = rename(s.path(name), s.path(next.name()))
	}
	if err != nil {
		s.remove(name)
		return nil, ofCopy(err)
	}
	if err := s.measure(next); err != nil {
		s.remove(next.name())
		return nil, ofCopy(err)
	}
	return next, nil
}

// letGo closes a copy that failed.
func (s *store) letGo(a *active, why error) {
	broken := errors.Is(why, errDamaged)
	if broken {
		s.leaks++
	}
	_ = a.close(broken) // the error before matters more
}

// measure fills in what a segment holds.
func (s *store) measure(seg *segment) error {
	f, err := openSegment(s.path(seg.name()))
	if err != nil {
		return err
	}
	defer f.close()
	info, err := f.f.Stat()
	if err != nil {
		return err
	}
	if st, ok := info.Sys().(*syscall.Stat_t); ok && int(st.Uid) != os.Geteuid() {
		return fmt.Errorf("%w: it belongs to uid %d, mtlsproxyd runs as %d", errForeign, st.Uid, os.Geteuid())
	}
	seg.size, seg.modified, seg.problem, seg.denied = info.Size(), info.ModTime(), "", false
	c, err := f.contents()
	if err != nil {
		return err
	}
	return seg.count(&c, s.decoder)
}

// rewrite writes the readable blocks of seg to a new file and leaves it open, with the
// records of the tail in memory as it was. It returns what it had to leave out, too.
func (s *store) rewrite(seg *segment, name string, limit int64) (a *active, left, err error) {
	f, err := openSegment(s.path(seg.name()))
	if err != nil {
		return nil, nil, err
	}
	defer f.close()
	c, left := f.contents()
	if left != nil && !errors.Is(left, errDamaged) {
		return nil, nil, left
	}
	s.remove(name)
	a, err = createActive(s.path(name), limit, s.encoder, time.UnixMicro(c.created))
	if err != nil {
		return nil, nil, ofCopy(err)
	}
	a.bound(s.maxSize() - s.bytes())
	bad, err := s.transfer(a, f, &c)
	if err != nil {
		s.letGo(a, err)
		return nil, nil, ofCopy(err)
	}
	return a, errors.Join(left, bad), nil
}

// transfer copies the blocks that can be read, and returns why others cannot.
func (s *store) transfer(a *active, f *segmentFile, c *contents) (bad, err error) {
	const batch = 2 << 20
	// Nobody looks at the copy before it is whole and has its name: one sync is enough.
	a.db.NoSync = true
	defer func() {
		a.db.NoSync = false
		err = errors.Join(err, a.db.Sync())
	}()
	var puts []put
	size, next := 0, uint64(0)
	flush := func() error {
		if len(puts) == 0 {
			return nil
		}
		err := a.adopt(puts)
		puts, size = puts[:0], 0
		return err
	}
	var sum summary
	for _, b := range c.blocks {
		block, err := s.verify(f, &sum, b)
		if errors.Is(err, errDamaged) {
			bad = err
			continue
		}
		if err != nil {
			return bad, err
		}
		puts = append(puts, put{b.row, block, b.data})
		size += len(block)
		next = b.row + uint64(sum.rows)
		if size >= batch {
			if err := flush(); err != nil {
				return bad, err
			}
		}
	}
	if err := flush(); err != nil {
		return bad, err
	}
	runs, err := s.unpackTail(c, next)
	if err != nil {
		bad = err
	}
	return bad, s.putRuns(a, runs, next)
}

// putRuns stores the records of a tail under the numbers that they had: what comes before
// a gap as a block, the rest as the tail that it was.
func (s *store) putRuns(a *active, runs []run, next uint64) error {
	for len(runs) > 1 {
		block, summary, err := s.encoder.encode(runs[0].row, runs[0].data)
		if err != nil {
			return err
		}
		if err := a.adopt([]put{{runs[0].row, block, summary}}); err != nil {
			return err
		}
		runs = runs[1:]
	}
	if len(runs) == 0 {
		a.startAt(next)
		return nil
	}
	a.startAt(runs[0].row)
	return a.add([]view{runs[0].view})
}

// verify reads a block and its summary.
func (s *store) verify(f *segmentFile, sum *summary, b packedBlock) ([]byte, error) {
	if err := readSummary(sum, b.row, b.data); err != nil {
		return nil, err
	}
	block, err := f.block(b.row)
	if err == nil {
		err = s.decoder.load(block)
	}
	if err == nil && (s.decoder.row != b.row || s.decoder.rows != sum.rows) {
		err = damaged("block of record %d where that of %d should be", s.decoder.row, b.row)
	}
	return block, err
}

// A run is records that follow each other without a gap.
type run struct {
	view
	row uint64 // of the first
}

// unpackTail makes raw records of the parts of the tail that can be read, from record next
// on, and returns why others cannot.
func (s *store) unpackTail(c *contents, next uint64) (runs []run, bad error) {
	b := newBuilder()
	left, rows := maxRaw+maxPath+4096, maxRows // all together fill no block
	for _, p := range c.tail {
		err := s.decoder.load(p.data)
		if err == nil && (s.decoder.row != p.row || p.row < next) {
			err = damaged("block of record %d where that of %d should be", s.decoder.row, p.row)
		}
		if err == nil {
			if rows -= s.decoder.rows; rows < 0 {
				err = damaged("a tail of more than %d records", maxRows)
			}
		}
		if err == nil {
			err = b.load(s.decoder)
		}
		if err != nil {
			bad = err
			continue
		}
		if p.row > next || len(runs) == 0 {
			runs = append(runs, run{row: p.row})
		}
		r := &runs[len(runs)-1]
		for i := range s.decoder.rows {
			before := len(r.data)
			r.data = appendRaw(r.data, b.row(uint16(i)))
			r.records++
			if left -= len(r.data) - before; left < 0 {
				return runs, damaged("a tail of more than %d bytes", len(r.data))
			}
		}
		next = p.row + uint64(s.decoder.rows)
	}
	return runs, bad
}
