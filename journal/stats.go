package journal

import (
	"fmt"
	"time"
)

// slowDisk is for how long the disk may keep the writer before Stats complains. It is
// longer than any sync of a disk that works, and shorter than anybody waits for records.
const slowDisk = 5 * time.Second

// Stats is the state of a log.
type Stats struct {
	Directory   string
	Written     uint64        // records, since the start
	Dropped     uint64        // records for which there was no room, since the start
	Buffered    int           // records that wait to be written
	BufferUsed  int64         // bytes they take
	Buffer      int64         // bytes there are for them
	Lag         time.Duration // since the end of the exchange whose record waits the longest
	Bytes       int64         // on disk, quarantine included
	MaxBytes    int64
	Followers   int
	Oldest      time.Time // record on disk; zero: there is none
	Segments    []Segment // oldest first
	Quarantined []Quarantined
	Err         string // why nothing can be written now; "" if it can
}

// Segment describes a file of the log.
type Segment struct {
	Name     string
	From, To time.Time // of its records
	Records  int64
	Size     int64
	Active   bool   // it is being written
	Problem  string // why it cannot be read; "" if it can
}

// Stats returns the state of the log.
func (l *Log) Stats() Stats {
	u := l.buffer.usage()
	l.mu.RLock()
	defer l.mu.RUnlock()
	s := Stats{
		Directory:   l.o.Directory,
		Written:     l.written,
		Dropped:     u.dropped,
		Buffered:    u.waiting,
		BufferUsed:  u.bytes,
		Buffer:      l.o.Buffer,
		Bytes:       totalBytes(l.segments, l.quarantined),
		MaxBytes:    l.limits.Load().MaxSize,
		Followers:   int(l.follows.Load()),
		Quarantined: append([]Quarantined(nil), l.quarantined...),
	}
	if u.oldest != 0 {
		s.Lag = max(0, l.o.Now().Sub(time.UnixMicro(u.oldest)))
	}
	if l.problem != nil {
		s.Err = l.problem.Error()
	}
	if since := time.Unix(0, l.disk.Load()); since.UnixNano() != 0 && time.Since(since) > slowDisk {
		s.Err = diskIsSlow(since, l.o.Directory)
	}
	for i, seg := range l.segments {
		d := Segment{
			Name: seg.name(), Records: seg.records, Size: seg.size, Problem: seg.problem,
			Active: l.live && i == len(l.segments)-1,
		}
		if seg.records > 0 {
			d.From, d.To = time.UnixMicro(seg.from), time.UnixMicro(seg.to)
			if s.Oldest.IsZero() || d.From.Before(s.Oldest) {
				s.Oldest = d.From
			}
		}
		s.Segments = append(s.Segments, d)
	}
	return s
}

func diskIsSlow(since time.Time, directory string) string {
	return fmt.Sprintf("the disk has not answered since %s; is the file system of %q frozen, or its device gone?", since.UTC().Format(time.RFC3339), directory)
}

func (l *Log) publish(segments []*segment, quarantined []Quarantined) {
	l.mu.Lock()
	l.segments, l.quarantined, l.opened = segments, quarantined, true
	l.mu.Unlock()
}

// setProblem notes why nothing can be written, or that it can. It is logged when it
// changes.
func (l *Log) setProblem(err error) {
	err = l.o.advise(err)
	l.mu.Lock()
	was := l.problem
	l.problem = err
	l.mu.Unlock()
	switch {
	case err == nil && was != nil:
		l.o.Log.Info("the request log is written again", "event", "log_healed", "directory", l.o.Directory, "dropped", l.buffer.usage().dropped)
	case err != nil && (was == nil || was.Error() != err.Error()):
		l.o.Log.Error("the request log cannot be written; requests are served without", "event", "log_failing", "directory", l.o.Directory, "error", err)
	}
}
