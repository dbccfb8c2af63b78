package identity

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/mtlsproxy/mtlsproxy/tlsclient"
)

// leftover is a file of a commit that did not come to its end, beside the one that it
// was to replace, or has stood for.
type leftover struct {
	path   string   // without symbolic links: the file in place
	file   string   // beside it
	others []string // as well, from before
}

// leftovers returns what commits have left behind, in the order in which they replace
// files.
func (i *Identity) leftovers() []leftover {
	var out []leftover
	seen := map[string]bool{}
	for _, path := range []string{i.files.CA, i.files.PKCS12, i.files.Key, i.files.Cert} {
		real, err := resolve(path)
		if path == "" || err != nil || seen[real] {
			continue
		}
		seen[real] = true
		if files := beside(real); len(files) > 0 {
			last := len(files) - 1
			out = append(out, leftover{path: real, file: files[last], others: files[:last]})
		}
	}
	return out
}

// beside returns the files beside path that commits have made, the latest last.
func beside(path string) []string {
	dir := filepath.Dir(path)
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil
	}
	var files []string
	made := map[string]time.Time{}
	for _, e := range entries {
		number, ours := strings.CutPrefix(e.Name(), "."+filepath.Base(path)+".new-")
		number = strings.TrimSuffix(number, ".old")
		if !ours || number == "" || strings.Trim(number, "0123456789") != "" {
			continue
		}
		if info, err := e.Info(); err == nil && info.Mode().IsRegular() {
			file := filepath.Join(dir, e.Name())
			files, made[file] = append(files, file), info.ModTime()
		}
	}
	slices.SortFunc(files, func(a, b string) int { return made[a].Compare(made[b]) })
	return files
}

func removeAll(left []leftover) {
	for _, l := range left {
		for _, file := range append(l.others, l.file) {
			_ = os.Remove(file) // at worst, a hidden file stays
		}
	}
}

// interrupted says what is left of a commit, or nothing.
func (i *Identity) interrupted() error {
	left := i.leftovers()
	if len(left) == 0 {
		return nil
	}
	var files []string
	for _, l := range left {
		files = append(files, l.file)
	}
	return fmt.Errorf("a commit was interrupted, and has left %s: the other half may be there; move what belongs in place, and remove the rest", strings.Join(files, ", "))
}

// Mend settles what a commit has left that was interrupted, by the end of the process
// or of the host, and returns what the files hold then, with the files that it has put
// in place. A commit that stands half is finished, or taken back, whichever lasts
// longer; what is left over is removed. While a generation is in use, and after the
// first time that the files were good, nothing is touched: then they may be on their
// way by somebody else's hand. Like Commit, it comes from one at a time.
func (i *Identity) Mend(f *Found, now time.Time) (found *Found, moved []string) {
	if i.settled {
		return f, nil
	}
	i.settled = f.Err == nil || i.Generation() != nil
	left := i.leftovers()
	if len(left) == 0 || i.Generation() != nil && f.Err != nil {
		return f, nil
	}
	var r replacing
	defer r.close()
	for _, l := range left {
		if r.lock(filepath.Dir(l.path)) != nil {
			i.settled = false // the commit of another daemon is under way
			return f, nil
		}
	}
	if f.Err == nil {
		removeAll(left)
		return f, nil
	}
	done := i.choose(left, now)
	for n, l := range done {
		if err := exchange(l.file, l.path); err != nil {
			f.Err = errors.Join(f.Err, fmt.Errorf("finishing a commit that was interrupted: %w", err))
			for _, l := range done[:n] {
				f.Err = errors.Join(f.Err, exchange(l.file, l.path))
			}
			return f, nil
		}
		moved = append(moved, l.path)
	}
	if len(done) == 0 {
		return f, nil
	}
	if found = i.Try(now); found.Err == nil {
		removeAll(left)
		i.settled = true
	}
	return found, moved
}

// choose returns which of the files would make a good identity in place of those that
// are there. A commit replaces files one after the other, so either those that it has
// replaced are to go back, or those that it has not are to come.
func (i *Identity) choose(left []leftover, now time.Time) (best []leftover) {
	var end time.Time
	for n := 1; n < len(left); n++ {
		for _, some := range [][]leftover{left[n:], left[:n]} {
			files := i.files
			for _, l := range some {
				instead(&files, l)
			}
			if g, err := files.Load(0, now); err == nil && g.Leaf.NotAfter.After(end) {
				best, end = some, g.Leaf.NotAfter
			}
		}
	}
	return best
}

// instead has files read a leftover in the place of the file that it is beside.
func instead(files *tlsclient.Identity, l leftover) {
	for _, path := range []*string{&files.CA, &files.PKCS12, &files.Key, &files.Cert} {
		if real, err := resolve(*path); *path != "" && err == nil && real == l.path {
			*path = l.file
		}
	}
}
