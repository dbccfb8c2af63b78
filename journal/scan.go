package journal

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
)

// A scan goes through records. It takes a picture of the memory first and then of the
// list of segments: what was not in memory is in them, and what is in both is passed
// over in the segments, where its number is not below memory's first.
type scan struct {
	l       *Log
	matcher *matcher
	decoder *decoder
	builder *builder
	encoder *encoder
	newest  bool
	emit    func(*Record) error
	low     int64  // of this run's records, only those from here on
	high    int64  // of this run's records on disk, only those below
	seen    uint64 // records within the bounds, wanted or not
	left    int    // segments and blocks that could not be read
	why     error  // of the first of them
}

func (l *Log) newScan(f *Filter) (*scan, error) {
	if err := f.check(); err != nil {
		return nil, err
	}
	z, err := newUnpacker()
	if err != nil {
		return nil, err
	}
	e, err := newEncoder(false)
	if err != nil {
		return nil, err
	}
	return &scan{
		l: l, matcher: newMatcher(f), decoder: &decoder{zstd: z}, builder: newBuilder(), encoder: e,
		low: earliest,
	}, nil
}

// all goes through everything.
func (s *scan) all(ctx context.Context) error {
	memory, first, err := s.memory()
	if err != nil {
		return err
	}
	s.high = int64(first)
	s.l.mu.RLock()
	segments := slices.Clone(s.l.segments)
	s.l.mu.RUnlock()
	if s.newest {
		slices.Reverse(segments)
		if err := s.inMemory(ctx, memory); err != nil {
			return err
		}
	}
	for _, seg := range segments {
		if seg.problem == "" && (seg.records == 0 || seg.from >= s.matcher.to || seg.to < s.matcher.from) {
			continue
		}
		if err := s.segment(ctx, seg); err != nil {
			return err
		}
	}
	if !s.newest {
		return s.inMemory(ctx, memory)
	}
	return nil
}

// memory makes blocks of what waits in memory from s.low on, and returns how many
// records were taken in before all of what waits.
func (s *scan) memory() (blocks []packedBlock, first uint64, err error) {
	views, first := s.l.buffer.pin(1 << 62)
	defer s.l.buffer.unpin()
	row := first
	for _, v := range views {
		if int64(row)+int64(v.records) > s.low {
			block, _, err := s.encoder.encode(row, v.data)
			if err != nil {
				return nil, 0, err
			}
			blocks = append(blocks, packedBlock{row, slices.Clone(block)})
		}
		row += uint64(v.records)
	}
	return blocks, first, nil
}

func (s *scan) inMemory(ctx context.Context, blocks []packedBlock) error {
	if s.newest {
		slices.Reverse(blocks)
	}
	for _, b := range blocks {
		if err := s.block(ctx, b.data, 0, latest); err != nil {
			return err
		}
	}
	return nil
}

// segment goes through a segment. If it was mended or continued in another file
// meanwhile, that has its number.
func (s *scan) segment(ctx context.Context, seg *segment) error {
	f, err := openSegment(s.l.path(seg))
	for tries := 0; errors.Is(err, fs.ErrNotExist); tries++ {
		next := s.l.successor(seg)
		if next == nil || tries == maxRetries {
			return nil // it was deleted
		}
		seg = next
		f, err = openSegment(s.l.path(seg))
	}
	if err != nil {
		s.trouble(seg, err)
		return nil
	}
	defer f.close()
	c, err := f.contents()
	if err != nil {
		s.trouble(seg, err) // it goes on with what could be read
	}
	base, high := int64(0), int64(latest)
	if seg.own {
		base, high = seg.base, s.high
	}
	if s.newest {
		slices.Reverse(c.blocks)
		slices.Reverse(c.tail)
		if err := s.tail(ctx, seg, c.tail, base, high); err != nil {
			return err
		}
	}
	var sum summary
	for _, b := range c.blocks {
		if err := s.summary(ctx, seg, f, &sum, b, base, high); err != nil {
			return err
		}
	}
	if s.newest {
		return nil
	}
	return s.tail(ctx, seg, c.tail, base, high)
}

const maxRetries = 3

// summary goes through a large block, if its summary says that it may be worth it.
func (s *scan) summary(ctx context.Context, seg *segment, f *segmentFile, sum *summary, b packedBlock, base, high int64) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if err := readSummary(sum, b.row, b.data); err != nil {
		s.trouble(seg, err)
		return nil
	}
	first := base + int64(b.row)
	if seg.own && (first >= high || first+int64(sum.rows) <= s.low) {
		return nil
	}
	if !s.matcher.may(sum) {
		s.pass(seg, sum.rows, first, high)
		return nil
	}
	data, err := f.block(b.row)
	if err != nil {
		s.trouble(seg, err)
		return nil
	}
	err = s.block(ctx, data, base, high)
	if errors.Is(err, errDamaged) {
		s.trouble(seg, err)
		return nil
	}
	return err
}

// pass counts the records of a block that is passed over.
func (s *scan) pass(seg *segment, rows int, first, high int64) {
	if seg.own {
		s.seen += uint64(max(0, min(first+int64(rows), high)-max(first, s.low)))
	}
}

func (s *scan) tail(ctx context.Context, seg *segment, tail []packedBlock, base, high int64) error {
	for _, b := range tail {
		err := s.block(ctx, b.data, base, high)
		if errors.Is(err, errDamaged) {
			s.trouble(seg, err)
			err = nil
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// trouble goes on after something that cannot be read. The writer is told of damage.
func (s *scan) trouble(seg *segment, err error) {
	s.left++
	if s.why == nil {
		s.why = fmt.Errorf("segment %s: %w", seg.name(), err)
	}
	if errors.Is(err, errDamaged) {
		select {
		case s.l.damaged <- damagedReport{seg, err}:
		default: // it will be found again
		}
	}
}

// block emits the wanted records of a block. Those of this run are bounded by s.low and
// high.
func (s *scan) block(ctx context.Context, data []byte, base, high int64) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	rows, err := s.match(ctx, data)
	if err != nil {
		return err
	}
	first := base + int64(s.decoder.row)
	s.seen += uint64(max(0, min(first+int64(s.decoder.rows), high)-max(first, s.low)))
	if s.newest {
		slices.Reverse(rows)
	}
	for _, i := range rows {
		if n := first + int64(i); n < s.low || n >= high {
			continue
		}
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := s.emit(s.builder.row(i)); err != nil {
			return err
		}
	}
	return nil
}

// match finds the wanted rows. What is damaged in a way that nobody thought of must not
// end the process.
func (s *scan) match(ctx context.Context, data []byte) (rows []uint16, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = damaged("reading a block panicked: %v", p)
		}
	}()
	if err := s.decoder.load(data); err != nil {
		return nil, err
	}
	rows, err = s.matcher.match(ctx, s.decoder)
	if err == nil && len(rows) > 0 {
		err = s.builder.load(s.decoder)
	}
	return rows, err
}
