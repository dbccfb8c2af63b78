package admin

import (
	"context"
	"sync"
	"time"

	"github.com/mtlsproxy/mtlsproxy/service/caller"
)

// holder is who takes a part of a share.
type holder struct {
	uid    uint32 // caller.None if unknown; all that are unknown count as one
	master bool
}

func holderOf(uid uint32, err error) holder {
	if err != nil {
		return holder{uid: caller.None}
	}
	return holder{uid, master(caller.Caller{UID: uid})}
}

// share bounds how many of something there are at a time, in all and of one uid, so
// that nobody can have them all.
type share struct {
	total int // at a time
	kept  int // of these, for root and the daemon's own user alone
	each  int // of any other uid

	mu       sync.Mutex
	used     int
	of       map[uint32]int // how many of used are a uid's
	rejected uint64
	freed    chan struct{} // closed at the next give; nil: nobody waits
}

// take reports whether h may have one more, which it then has until give.
func (s *share) take(h holder) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	ok := s.room(h)
	if !ok {
		s.rejected++
	}
	return ok
}

// wait is take, but for waiting until there is room, patience is over or ctx ends.
func (s *share) wait(ctx context.Context, patience time.Duration, h holder) bool {
	over := time.NewTimer(patience)
	defer over.Stop()
	for {
		s.mu.Lock()
		if s.room(h) {
			s.mu.Unlock()
			return true
		}
		if s.freed == nil {
			s.freed = make(chan struct{})
		}
		freed := s.freed
		s.mu.Unlock()
		select {
		case <-freed:
		case <-ctx.Done():
			return false
		case <-over.C:
			return s.take(h)
		}
	}
}

// room takes one if there is room. The mutex is held.
func (s *share) room(h holder) bool {
	if s.used >= s.total || !h.master && (s.used >= s.total-s.kept || s.of[h.uid] >= s.each) {
		return false
	}
	if s.of == nil {
		s.of = make(map[uint32]int)
	}
	s.used++
	s.of[h.uid]++
	return true
}

// give returns what h has taken.
func (s *share) give(h holder) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.used--
	if s.of[h.uid]--; s.of[h.uid] == 0 {
		delete(s.of, h.uid)
	}
	if s.freed != nil {
		close(s.freed)
		s.freed = nil
	}
}

// usage tells how many there are, and how many there were not.
func (s *share) usage() (used int, rejected uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.used, s.rejected
}
