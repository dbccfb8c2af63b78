package journal

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"syscall"
	"time"
)

// mend copies what can be read of a damaged segment into a new one in its place, and puts
// the old one aside.
func (s *store) mend(seg *segment, why error) {
	s.retain(s.maxSize(), 0, seg.size+128<<10, true)
	i := slices.Index(s.segments, seg)
	if i < 0 {
		return // it is gone already
	}
	next, err := s.copy(seg)
	switch {
	case errors.Is(err, errDamaged), errors.Is(err, fs.ErrPermission):
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
		s.putAside(seg, fmt.Sprintf("%v; %d of its records could be read and are kept", why, next.records))
		s.segments = slices.Insert(s.segments, i, next)
		s.show()
	}
}

// copy makes a segment with the readable records of seg.
func (s *store) copy(seg *segment) (*segment, error) {
	next := &segment{number: seg.number, repair: seg.repair + 1, base: seg.base, own: seg.own}
	name := next.name() + newSuffix
	a, _, err := s.rewrite(seg, name, 0) // what is left out is why we are here
	if err != nil {
		s.remove(name)
		return nil, err
	}
	if err := a.seal(); err != nil {
		_ = a.close(errors.Is(err, errDamaged)) // the error above matters more
		s.remove(name)
		return nil, err
	}
	if err := os.Rename(s.path(name), s.path(next.name())); err != nil {
		s.remove(name)
		return nil, err
	}
	if err := s.measure(next); err != nil {
		s.remove(next.name())
		return nil, err
	}
	return next, nil
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
	seg.size, seg.modified, seg.problem = info.Size(), info.ModTime(), ""
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
		return nil, nil, err
	}
	bad, err := s.transfer(a, f, &c)
	if err != nil {
		_ = a.close(errors.Is(err, errDamaged)) // the error above matters more
		return nil, nil, err
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
	if len(c.tail) > 0 {
		next = max(next, c.tail[0].row)
	}
	a.startAt(next)
	tail, err := s.unpackTail(c)
	if err != nil {
		bad = err
	}
	if len(tail.data) > 0 {
		return bad, a.add([]view{tail})
	}
	return bad, nil
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

// unpackTail makes raw records of the parts of the tail that can be read, and returns why
// others cannot.
func (s *store) unpackTail(c *contents) (v view, bad error) {
	b := newBuilder()
	for _, p := range c.tail {
		err := s.decoder.load(p.data)
		if err == nil {
			err = b.load(s.decoder)
		}
		if err != nil {
			bad = err
			continue
		}
		for i := range s.decoder.rows {
			v.data = appendRaw(v.data, b.row(uint16(i)))
			v.records++
		}
	}
	return v, bad
}
