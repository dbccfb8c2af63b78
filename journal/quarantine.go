package journal

import (
	"fmt"
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

	note int64 // size of the text
}

const whySuffix = ".txt"

// putAside moves a segment out of the way.
func (s *store) putAside(seg *segment, why string) {
	s.drop(seg)
	s.log.Error("a segment of the request log is put aside", "segment", seg.name(), "to", filepath.Join(s.dir, quarantineName), "why", why)
	q := Quarantined{Name: seg.name(), Time: s.now().Truncate(time.Second), Why: why}
	from, dir := s.path(seg.name()), s.path(quarantineName)
	if info, err := os.Lstat(from); err == nil {
		q.Size = info.Size()
	}
	// Files of the same name do not come twice, unless somebody copies them there.
	for i := 1; exists(filepath.Join(dir, q.Name)); i++ {
		q.Name = fmt.Sprintf("%s.%d", seg.name(), i)
	}
	err := os.MkdirAll(dir, 0o700)
	if err == nil {
		err = os.Rename(from, filepath.Join(dir, q.Name))
	}
	if err != nil {
		// It is ignored where it stands.
		s.log.Error("putting a segment of the request log aside", "error", err)
		q.Why += "; it could not be moved: " + err.Error()
		q.Name = filepath.Join("..", seg.name())
	} else if err := os.WriteFile(filepath.Join(dir, q.Name+whySuffix), q.text(), 0o600); err != nil {
		s.log.Warn("noting why a segment of the request log was put aside", "error", err)
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
	return fmt.Appendf(nil, "%s\n%s\n", q.Time.UTC().Format(time.RFC3339), q.Why)
}

// scanQuarantine lists what earlier runs put aside.
func (s *store) scanQuarantine() {
	s.quarantined = nil
	dir := s.path(quarantineName)
	entries, err := os.ReadDir(dir)
	if err != nil {
		return // nothing was put aside, or nobody can tell
	}
	for _, e := range entries {
		info, err := e.Info()
		if err != nil || e.IsDir() || strings.HasSuffix(e.Name(), whySuffix) {
			continue
		}
		q := Quarantined{Name: e.Name(), Size: info.Size(), Time: info.ModTime(), Why: "the reason was not noted"}
		if b, err := os.ReadFile(filepath.Join(dir, e.Name()+whySuffix)); err == nil {
			q.note = int64(len(b))
			when, why, _ := strings.Cut(strings.TrimSpace(string(b)), "\n")
			if t, err := time.Parse(time.RFC3339, when); err == nil {
				q.Time, q.Why = t, why
			}
		}
		s.quarantined = append(s.quarantined, q)
	}
	slices.SortStableFunc(s.quarantined, func(a, b Quarantined) int { return a.Time.Compare(b.Time) })
}

// forget deletes the file that was put aside first.
func (s *store) forget() {
	q := s.quarantined[0]
	s.quarantined = s.quarantined[1:]
	s.remove(filepath.Join(quarantineName, q.Name))
	s.remove(filepath.Join(quarantineName, q.Name+whySuffix))
}
