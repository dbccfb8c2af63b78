package journal

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// Quarantined is a damaged segment that was put aside, in the directory "quarantine" of the
// log. Beside it stands a text with the reason. It is never opened again. Its bytes count
// for the size of the log, and its age for its age.
type Quarantined struct {
	Name string
	Size int64
	Time time.Time // when it was put aside
	Why  string

	note    int64 // size of the text
	unmoved bool  // it stands where it stood
}

const (
	whySuffix = ".txt"
	noteSize  = 4 << 10 // at most of the text
)

// putAside moves a segment out of the way.
func (s *store) putAside(seg *segment, why string) {
	s.drop(seg)
	s.log.Error("a segment of the request log is put aside", "event", "log_quarantined", "segment", seg.name(), "to", filepath.Join(s.dir, quarantineName), "why", why)
	q := Quarantined{Name: seg.name(), Time: s.now().Truncate(time.Second), Why: why}
	from, dir := s.path(seg.name()), s.path(quarantineName)
	if info, err := os.Lstat(from); err == nil {
		q.Size = info.Size()
	}
	s.retain(s.maxSize(), 0, q.Size+noteSize, true) // for the text
	// Files of the same name do not come twice, unless somebody copies them there.
	for i := 1; exists(filepath.Join(dir, q.Name)); i++ {
		q.Name = fmt.Sprintf("%s.%d", seg.name(), i)
	}
	err := os.MkdirAll(dir, 0o700)
	if err == nil {
		err = rename(from, filepath.Join(dir, q.Name))
	}
	if err != nil {
		// It is ignored where it stands.
		s.log.Error("putting a segment of the request log aside", "event", "log_leftover", "error", err)
		q.unmoved = true
		q.Why += "; it could not be moved: " + err.Error()
		q.Name = filepath.Join("..", seg.name())
	} else if err := os.WriteFile(filepath.Join(dir, q.Name+whySuffix), q.text(), 0o600); err != nil {
		s.log.Warn("noting why a segment of the request log was put aside", "event", "log_leftover", "error", err)
	}
	q.note = int64(len(q.text()))
	s.quarantined = append(s.quarantined, q)
	s.show()
}

func exists(path string) bool {
	_, err := os.Lstat(path)
	return err == nil
}

func (q *Quarantined) text() []byte {
	b := fmt.Appendf(nil, "%s\n%s", q.Time.UTC().Format(time.RFC3339), q.Why)
	return append(b[:min(len(b), noteSize-1)], '\n')
}

// scanQuarantine lists what was put aside and is still there.
func (s *store) scanQuarantine() {
	entries, err := os.ReadDir(s.path(quarantineName))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return // nobody can tell what is there
	}
	found := slices.DeleteFunc(s.quarantined, func(q Quarantined) bool {
		return !q.unmoved || !exists(s.path(filepath.Join(quarantineName, q.Name)))
	})
	names := make(map[string]bool)
	for _, e := range entries {
		names[e.Name()] = true
	}
	for _, e := range entries {
		if of, isNote := strings.CutSuffix(e.Name(), whySuffix); isNote && e.Type().IsRegular() {
			if strings.HasPrefix(of, "requests-") && !names[of] {
				s.remove(filepath.Join(quarantineName, e.Name())) // somebody deleted what it is about
			}
			continue
		}
		info, err := e.Info()
		if err != nil || e.IsDir() {
			continue
		}
		q := Quarantined{Name: e.Name(), Size: info.Size(), Time: info.ModTime(), Why: "the reason was not noted"}
		q.readNote(s.path(filepath.Join(quarantineName, e.Name()+whySuffix)))
		found = append(found, q)
	}
	slices.SortStableFunc(found, func(a, b Quarantined) int { return a.Time.Compare(b.Time) })
	s.quarantined = found
}

// readNote reads the text beside a file, if there is one. It does not wait, whatever
// stands there.
func (q *Quarantined) readNote(path string) {
	f, err := openSegment(path)
	if err != nil {
		return
	}
	defer f.close()
	if info, err := f.f.Stat(); err == nil {
		q.note = info.Size()
	}
	b, err := io.ReadAll(io.LimitReader(f.f, noteSize))
	if err != nil {
		return
	}
	when, why, _ := strings.Cut(strings.TrimSpace(string(b)), "\n")
	if t, err := time.Parse(time.RFC3339, when); err == nil {
		q.Time, q.Why = t, why
	}
}

// forget deletes a file that was put aside.
func (s *store) forget(i int) {
	q := s.quarantined[i]
	s.quarantined = slices.Delete(s.quarantined, i, i+1)
	s.remove(filepath.Join(quarantineName, q.Name))
	s.remove(filepath.Join(quarantineName, q.Name+whySuffix))
}
