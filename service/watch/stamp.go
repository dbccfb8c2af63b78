package watch

import (
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"hash"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
)

const (
	// maxBytes bounds what is read of a file, or of all files in a directory.
	// Beyond it, sizes and times of modification stand for the bytes.
	maxBytes = 8 << 20

	// maxEntries bounds the files in a directory.
	maxEntries = 4096
)

// stamp is all of a file that counts. Two that are equal are no change.
type stamp struct {
	err      string // why it cannot be read; "" if it can
	mode     fs.FileMode
	uid, gid uint32
	size     int64
	mtime    int64 // of a file that is not read whole, ns
	sum      [sha256.Size]byte
	entries  int // files in a directory

	// spent says that err is no fault of the file: this process has no descriptor
	// or memory left to look at it.
	spent bool
}

// read looks at what is at the end of the way.
func (t *target) read() stamp {
	budget := int64(maxBytes)
	if !t.dir {
		return readFile(t.path, &budget)
	}
	list, err := t.entries()
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return stamp{sum: sha256.Sum256(nil)}
	case err != nil:
		return stamp{}.failed(err)
	}
	h := sha256.New()
	for _, e := range list {
		s := readFile(filepath.Join(t.path, e.Name()), &budget)
		if s.spent {
			return s
		}
		s.into(h, e.Name())
	}
	return stamp{sum: [sha256.Size]byte(h.Sum(nil)), entries: len(list)}
}

func (s stamp) failed(err error) stamp {
	s.err = err.Error()
	s.spent = errors.Is(err, syscall.EMFILE) || errors.Is(err, syscall.ENFILE) || errors.Is(err, syscall.ENOMEM)
	return s
}

// into adds the stamp of one file to that of its directory.
func (s stamp) into(h hash.Hash, name string) {
	for _, text := range []string{name, s.err} {
		h.Write(binary.BigEndian.AppendUint64(nil, uint64(len(text))))
		h.Write([]byte(text))
	}
	for _, n := range []int64{int64(s.mode), int64(s.uid), int64(s.gid), s.size, s.mtime} {
		h.Write(binary.BigEndian.AppendUint64(nil, uint64(n)))
	}
	h.Write(s.sum[:])
}

// entries lists the files of a directory that count, in the order of their names.
func (t *target) entries() ([]fs.DirEntry, error) {
	// Neither a FIFO nor a device may be opened just because it stands there.
	d, err := os.OpenFile(t.path, os.O_RDONLY|syscall.O_DIRECTORY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	defer func() { _ = d.Close() }() // it was only read
	var list []fs.DirEntry
	for {
		part, err := d.ReadDir(256)
		for _, e := range part {
			if !e.IsDir() && t.counts(e.Name()) {
				list = append(list, e)
			}
		}
		switch {
		case errors.Is(err, io.EOF):
			slices.SortFunc(list, func(a, b fs.DirEntry) int { return strings.Compare(a.Name(), b.Name()) })
			return list, nil
		case err != nil:
			return nil, err
		case len(list) > maxEntries:
			return nil, fmt.Errorf("directory %q has more than %d files named *%s; remove some", t.path, maxEntries, t.suffix)
		}
	}
}

// readFile takes the stamp of one file, reading at most budget bytes of it.
func readFile(path string, budget *int64) stamp {
	info, err := os.Stat(path)
	if err != nil {
		return stamp{}.failed(err)
	}
	s := stampOf(info)
	if !info.Mode().IsRegular() {
		s.err = fmt.Sprintf("%q is not a regular file", path)
		s.size = 0 // that of a directory comes and goes with other files
		return s
	}
	// If it is no longer the same file, it must not block either.
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK|syscall.O_NOCTTY, 0)
	if err != nil {
		return s.failed(err)
	}
	defer func() { _ = f.Close() }() // it was only read
	if info, err = f.Stat(); err != nil || !info.Mode().IsRegular() {
		s.err = fmt.Sprintf("%q changed while it was opened", path)
		return s
	}
	s = stampOf(info)
	h := sha256.New()
	n, err := io.Copy(h, io.LimitReader(f, *budget))
	if err != nil {
		return s.failed(err)
	}
	if *budget -= n; n < s.size {
		s.mtime = info.ModTime().UnixNano()
	}
	s.sum = [sha256.Size]byte(h.Sum(nil))
	return s
}

func stampOf(info fs.FileInfo) stamp {
	s := stamp{mode: info.Mode(), size: info.Size()}
	if sys, ok := info.Sys().(*syscall.Stat_t); ok {
		s.uid, s.gid = sys.Uid, sys.Gid
	}
	return s
}
