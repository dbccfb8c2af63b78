package journal

import (
	"errors"
	"io/fs"
	"os"
	"slices"
	"time"
)

// retain deletes what is too old, and then the oldest files until there is room for growth
// more bytes. The last segment stays if keepLast.
func (s *store) retain(maxSize int64, maxAge time.Duration, growth int64, keepLast bool) {
	before, aside := len(s.segments), len(s.quarantined)
	s.expire(maxAge, keepLast)
	over := func() bool { return s.bytes()+growth > maxSize }
	for _, seg := range s.candidates(keepLast) {
		// An older file that was put aside goes first.
		for len(s.quarantined) > 0 && s.quarantined[0].Time.Before(seg.last()) && over() {
			s.forget(0)
		}
		if !over() {
			break
		}
		s.discard(seg)
	}
	for len(s.quarantined) > 0 && over() {
		s.forget(0)
	}
	if len(s.segments) != before || len(s.quarantined) != aside {
		s.show()
	}
}

// candidates are the segments that may go, oldest first.
func (s *store) candidates(keepLast bool) []*segment {
	c := slices.Clone(s.segments)
	if keepLast && len(c) > 0 {
		c = c[:len(c)-1]
	}
	return c
}

// expire deletes what is older than maxAge. It looks at every file: after the clock was
// wrong, their order says nothing.
func (s *store) expire(maxAge time.Duration, keepLast bool) {
	if maxAge <= 0 {
		return
	}
	now := s.now()
	old := func(t time.Time) bool { return now.Sub(t) > maxAge }
	candidates := s.candidates(keepLast)
	ends := make([]time.Time, len(s.segments))
	for i := len(s.segments) - 1; i >= 0; i-- {
		ends[i] = s.segments[i].last()
		if i+1 < len(ends) && ends[i].After(now) {
			ends[i] = ends[i+1] // from the future it cannot be; it is no younger than the next
		}
	}
	for i, seg := range candidates {
		if old(ends[i]) {
			s.discard(seg)
		}
	}
	for i := 0; i < len(s.quarantined); {
		if old(s.quarantined[i].Time) {
			s.forget(i)
		} else {
			i++
		}
	}
}

// last is when the segment's newest record was made. What was written says no more than
// the file's time, which its records do not set.
func (s *segment) last() time.Time {
	if newest := time.UnixMicro(s.to); s.records > 0 && newest.Before(s.modified) {
		return newest
	}
	return s.modified
}

// discard deletes a segment. One that cannot be deleted stays in the list, and counts.
func (s *store) discard(seg *segment) {
	err := os.Remove(s.path(seg.name()))
	if err == nil || errors.Is(err, fs.ErrNotExist) {
		s.drop(seg)
		s.log.Debug("deleted a segment of the request log", "segment", seg.name())
		return
	}
	if seg.stuck {
		return // it was told
	}
	s.log.Warn("deleting a segment of the request log", "event", "log_leftover", "error", err)
	next := *seg
	next.stuck = true
	s.replace(seg, &next)
}

// bytes is the size of all files.
func (s *store) bytes() int64 { return totalBytes(s.segments, s.quarantined) }

func totalBytes(segments []*segment, quarantined []Quarantined) int64 {
	n := int64(0)
	for _, seg := range segments {
		n += seg.size
	}
	for _, q := range quarantined {
		n += q.Size + q.note
	}
	return n
}
