package journal

import (
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

const (
	lockName       = "lock"
	quarantineName = "quarantine"
	newSuffix      = ".new"
)

// A segment is what is known of a segment file. It is never changed once it is in the
// store's list, but replaced.
type segment struct {
	number, repair int // of its name; the higher repair of a number replaces the lower
	size           int64
	created        int64
	from, to       int64 // of its records
	records        int64
	modified       time.Time
	base           int64 // of this run only: record r of the file was the base+r th taken in
	own            bool  // written in this run: base holds
	problem        string
	denied         bool // problem is that it may not be opened
	stuck          bool // it could not be deleted
}

func (s *segment) name() string { return fmt.Sprintf("requests-%08d-%d.db", s.number, s.repair) }

const (
	maxNumber = 1_000_000_000_000 // of a segment, and of a repair: what is larger is no name of ours
	farNumber = maxNumber / 2     // ours do not get there by counting
)

func parseName(name string) (s segment, ok bool) {
	rest, isOurs := strings.CutPrefix(name, "requests-")
	rest, isDB := strings.CutSuffix(rest, ".db")
	number, repair, isTwo := strings.Cut(rest, "-")
	if !isOurs || !isDB || !isTwo {
		return s, false
	}
	var err, err2 error
	s.number, err = strconv.Atoi(number)
	s.repair, err2 = strconv.Atoi(repair)
	return s, err == nil && err2 == nil && s.number < maxNumber && s.repair < maxNumber && s.name() == name
}

// errForeign is about a file that somebody else made: what it says is not to be trusted.
var errForeign = errors.New("foreign")

// A store is the directory of the log. One goroutine uses it; the list of segments that
// others see is handed to publish.
type store struct {
	dir         string
	log         *slog.Logger
	now         func() time.Time
	encoder     *encoder
	decoder     *decoder
	lock        *os.File
	segments    []*segment // oldest first
	quarantined []Quarantined
	publish     func([]*segment, []Quarantined)
	maxSize     func() int64
	leaks       int // copies left open after a panic: see active.close
}

// open takes the directory for this process and looks through what is there.
func (s *store) open() error {
	if err := os.MkdirAll(s.dir, 0o700); err != nil {
		return fmt.Errorf("making the directory of the request log: %w", err)
	}
	lock, err := os.OpenFile(filepath.Join(s.dir, lockName), os.O_CREATE|os.O_RDWR|syscall.O_NOFOLLOW, 0o600)
	if err != nil {
		return fmt.Errorf("opening the request log: %w", err)
	}
	if err := flock(lock); err != nil {
		_ = lock.Close() // the error above matters more
		return fmt.Errorf("locking the request log %q: %w; another mtlsproxyd has it, give each its own directory", s.dir, err)
	}
	if err := s.scan(); err != nil {
		_ = lock.Close() // likewise
		return err
	}
	s.lock = lock
	return nil
}

func flock(f *os.File) error {
	raw, err := f.SyscallConn()
	if err != nil {
		return err
	}
	var result error
	err = raw.Control(func(fd uintptr) { result = syscall.Flock(int(fd), syscall.LOCK_EX|syscall.LOCK_NB) })
	return errors.Join(err, result)
}

// held reports whether the lock that this process holds is that of the directory. It
// is not when the directory was removed: then nothing is protected from others, and
// nothing that is written can be found.
func (s *store) held() bool {
	if s.lock == nil {
		return true // there is nothing to lose
	}
	ours, err := s.lock.Stat()
	if err != nil {
		return false
	}
	there, err := os.Lstat(filepath.Join(s.dir, lockName))
	return err == nil && os.SameFile(ours, there)
}

func (s *store) close() {
	if s.lock != nil {
		_ = s.lock.Close() // nothing was written
	}
	s.lock = nil
}

func (s *store) scan() error {
	entries, err := os.ReadDir(s.dir)
	if err != nil {
		return fmt.Errorf("reading the directory of the request log: %w", err)
	}
	s.scanQuarantine()
	s.segments = nil
	for _, e := range entries {
		if name, isNew := strings.CutSuffix(e.Name(), newSuffix); isNew {
			if _, ours := parseName(name); ours {
				s.remove(e.Name()) // a copy that was not finished
			}
		} else if seg, ok := parseName(e.Name()); ok {
			if info, err := e.Info(); err == nil {
				seg.size, seg.modified = info.Size(), info.ModTime()
			}
			s.segments = append(s.segments, &seg)
		}
	}
	slices.SortFunc(s.segments, func(a, b *segment) int {
		if a.number != b.number {
			return a.number - b.number
		}
		return a.repair - b.repair
	})
	for _, seg := range slices.Clone(s.segments) {
		switch {
		case !slices.Contains(s.segments, seg): // it went to make room for a note
		case seg.number >= farNumber || seg.repair >= farNumber:
			s.putAside(seg, "its number is absurd, and would leave none for those to come")
		case seg.size > s.maxSize():
			s.log.Warn("a segment of the request log is larger than all of it may be, and is deleted", "event", "log_leftover", "segment", seg.name(), "size", seg.size)
			s.discard(seg)
		}
	}
	for i := 0; i+1 < len(s.segments); {
		if s.segments[i].number == s.segments[i+1].number {
			s.remove(s.segments[i].name()) // its records are in the next
			s.segments = slices.Delete(s.segments, i, i+1)
		} else {
			i++
		}
	}
	for _, seg := range slices.Clone(s.segments) {
		s.inspect(seg)
	}
	s.show()
	return nil
}

// nextNumber is above those of all segments in the directory, listed or not.
func (s *store) nextNumber() (int, error) {
	number := 0
	err := s.names(func(seg segment) {
		if seg.number < farNumber {
			number = max(number, seg.number)
		}
	})
	return number + 1, err
}

// nextRepair is above all repairs of this number in the directory.
func (s *store) nextRepair(number int) (int, error) {
	repair := 0
	err := s.names(func(seg segment) {
		if seg.number == number {
			repair = max(repair, seg.repair)
		}
	})
	return repair + 1, err
}

// names calls fn for every name of a segment in the directory.
func (s *store) names(fn func(segment)) error {
	d, err := os.Open(s.dir)
	if err != nil {
		return err
	}
	names, err := d.Readdirnames(-1)
	for _, name := range names {
		if seg, ok := parseName(name); ok {
			fn(seg)
		}
	}
	return errors.Join(err, d.Close())
}

// rename never replaces a file.
func rename(from, to string) error {
	err := unix.Renameat2(unix.AT_FDCWD, from, unix.AT_FDCWD, to, unix.RENAME_NOREPLACE)
	if errors.Is(err, unix.EINVAL) || errors.Is(err, unix.ENOSYS) { // a file system that cannot
		if exists(to) {
			err = fs.ErrExist
		} else {
			err = os.Rename(from, to)
		}
	}
	if err != nil {
		return fmt.Errorf("renaming %q to %q: %w", from, to, err)
	}
	return nil
}

func (s *store) path(name string) string { return filepath.Join(s.dir, name) }

// sync makes new names outlive a power failure.
func (s *store) sync() error {
	d, err := os.Open(s.dir)
	if err != nil {
		return err
	}
	err = d.Sync()
	return errors.Join(err, d.Close())
}

func (s *store) remove(name string) {
	if err := os.Remove(s.path(name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		s.log.Warn("removing a file of the request log", "event", "log_leftover", "error", err)
	}
}

func (s *store) show() { s.publish(slices.Clone(s.segments), slices.Clone(s.quarantined)) }

func (s *store) replace(old, next *segment) {
	if i := slices.Index(s.segments, old); i >= 0 {
		s.segments[i] = next
	}
}

func (s *store) drop(old *segment) {
	s.segments = slices.DeleteFunc(s.segments, func(x *segment) bool { return x == old })
}

// inspect learns what a segment of an earlier run holds, and mends it or puts it aside if
// it is damaged.
func (s *store) inspect(seg *segment) {
	next := *seg
	err := s.measure(&next)
	switch {
	case err == nil:
		s.replace(seg, &next)
	case errors.Is(err, fs.ErrNotExist):
		s.drop(seg)
	case errors.Is(err, syscall.ELOOP):
		s.putAside(seg, "a symbolic link, not a regular file")
	case errors.Is(err, fs.ErrPermission): // no damage: whoever copies files as root leaves this behind
		next.denied = true
		s.complain(&next, fmt.Errorf("%w; %s", err, giveTo(s.path(seg.name()), "")))
		s.replace(seg, &next)
	case errors.Is(err, errForeign):
		s.putAside(seg, err.Error())
	case errors.Is(err, errDamaged):
		s.mend(seg, err)
	default:
		s.complain(&next, err)
		s.replace(seg, &next)
	}
}

// lookAgain inspects the segments that could not be opened: somebody may have mended that.
func (s *store) lookAgain() {
	for _, seg := range slices.Clone(s.segments) {
		if seg.denied {
			s.inspect(seg)
		}
	}
}

// complain keeps a segment that cannot be read for a reason that may pass. It is logged
// once.
func (s *store) complain(seg *segment, err error) {
	was := seg.problem
	if seg.problem = err.Error(); seg.problem == was {
		return
	}
	s.log.Warn("a segment of the request log cannot be read now", "event", "log_unreadable", "segment", seg.name(), "error", err)
}

// count sums up the contents.
func (s *segment) count(c *contents, d *decoder) error {
	s.created, s.records = c.created, 0
	s.from, s.to = latest, earliest
	var sum summary
	for _, b := range c.blocks {
		if err := readSummary(&sum, b.row, b.data); err != nil {
			return err
		}
		s.records += int64(sum.rows)
		s.from, s.to = min(s.from, sum.minTime), max(s.to, sum.maxTime)
	}
	for _, b := range c.tail {
		if err := d.load(b.data); err != nil {
			return err
		}
		if d.row != b.row {
			return damaged("block of record %d where that of %d should be", d.row, b.row)
		}
		times, err := d.number(nTime)
		if err != nil {
			return err
		}
		s.records += int64(d.rows)
		s.from, s.to = min(s.from, slices.Min(times)), max(s.to, slices.Max(times))
	}
	return nil
}
