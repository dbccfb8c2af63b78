package journal

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/fnv"
	"io"
	"io/fs"
	"os"
)

// What follows reads bbolt's files without bbolt: with pread instead of a memory map, and
// believing nothing. bbolt panics on damaged pages, and a map of a file that was cut
// short or sits on a failing disk kills the process; here both are errors. The format is
// that of bbolt's package internal/common (page.go, meta.go, inode.go), version 2, and has
// not changed since 2013. All numbers are of the host's byte order.

const (
	boltMagic    = 0xED0CDAED
	boltVersion  = 2
	metaSize     = 64 // of the meta behind its page header, without the checksum's 8 bytes: 56
	pageHeader   = 16
	element      = 16
	branchPage   = 0x01
	leafPage     = 0x02
	bucketFlag   = 0x01
	bucketHeader = 16
	maxDepth     = 16
	maxKey       = 64
	maxValue     = 8 << 20
)

// A tree is one state of a bbolt file.
type tree struct {
	f        io.ReaderAt
	pageSize int64
	pages    uint64 // page numbers are below
	root     uint64
	txid     uint64
	size     int64 // of the file
	budget   int64 // bytes that may still be read: no honest walk reads a page twice, but for those at the top
}

// openTree reads the newest state that was committed whole.
func openTree(f pageFile) (tree, error) {
	pageSize := int64(os.Getpagesize())
	best, err := readMeta(f, 0, pageSize)
	if second, err2 := readMeta(f, pageSize, pageSize); err2 == nil && (err != nil || second.txid > best.txid) {
		best, err = second, nil
	}
	if err != nil {
		return best, err
	}
	// What the file says of its size is not believed, and it was not larger when the state
	// was written.
	info, err := f.Stat()
	if err != nil {
		return best, err
	}
	best.size = info.Size()
	best.budget = best.size + 64*pageSize
	return best, nil
}

// A pageFile is an [os.File] as far as a tree needs it.
type pageFile interface {
	io.ReaderAt
	Stat() (fs.FileInfo, error)
}

func readMeta(f io.ReaderAt, at, pageSize int64) (tree, error) {
	var b [pageHeader + metaSize]byte
	if err := readAt(f, b[:], at); err != nil {
		return tree{}, err
	}
	m := b[pageHeader:]
	order := binary.NativeEndian
	sum := fnv.New64a()
	_, _ = sum.Write(m[:metaSize-8]) // a hash takes everything
	switch {
	case order.Uint32(m) != boltMagic:
		return tree{}, damaged("no segment: its first bytes are foreign")
	case order.Uint32(m[4:]) != boltVersion:
		return tree{}, damaged("version %d of bbolt, want %d", order.Uint32(m[4:]), boltVersion)
	case sum.Sum64() != order.Uint64(m[metaSize-8:]):
		return tree{}, damaged("wrong checksum of the meta page")
	case int64(order.Uint32(m[8:])) != pageSize:
		return tree{}, damaged("pages of %d bytes, want %d: it comes from another kind of host", order.Uint32(m[8:]), pageSize)
	}
	return tree{
		f: f, pageSize: pageSize,
		root: order.Uint64(m[16:]), pages: order.Uint64(m[40:]), txid: order.Uint64(m[48:]),
	}, nil
}

// readAt reads all of b. That the file ends before is damage, not the end of anything.
func readAt(f io.ReaderAt, b []byte, at int64) error {
	_, err := f.ReadAt(b, at)
	if errors.Is(err, io.EOF) {
		return damaged("cut short: nothing stands at byte %d", at+int64(len(b)))
	}
	return err
}

// A node is a page, or the page within the value of a small bucket.
type node struct {
	t     *tree
	at    int64 // in the file
	size  int64 // overflow included
	head  []byte
	leaf  bool
	count int
}

func (t *tree) node(id uint64) (*node, error) {
	if id < 2 || id >= t.pages {
		return nil, damaged("page %d of %d is referred to", id, t.pages)
	}
	if err := t.spend(t.pageSize); err != nil {
		return nil, err
	}
	n := &node{t: t, at: int64(id) * t.pageSize, size: t.pageSize, head: make([]byte, t.pageSize)}
	if err := readAt(t.f, n.head, n.at); err != nil {
		return nil, err
	}
	overflow := uint64(binary.NativeEndian.Uint32(n.head[12:]))
	if binary.NativeEndian.Uint64(n.head) != id || id+overflow >= t.pages {
		return nil, damaged("page %d is not what it should be", id)
	}
	n.size += int64(overflow) * t.pageSize
	return n, n.check()
}

func (t *tree) spend(n int64) error {
	t.budget -= n
	if t.budget < 0 {
		return damaged("its pages run in a circle, or over each other")
	}
	return nil
}

// check reads what all pages begin with, and the rest of the list of elements if it does
// not end on the first page.
func (n *node) check() error {
	flags := binary.NativeEndian.Uint16(n.head[8:])
	n.leaf = flags == leafPage
	n.count = int(binary.NativeEndian.Uint16(n.head[10:]))
	list := int64(pageHeader + n.count*element)
	if flags != leafPage && flags != branchPage || list > n.size {
		return damaged("page at byte %d is neither leaf nor branch", n.at)
	}
	if list > int64(len(n.head)) {
		if err := n.t.spend(list); err != nil {
			return err
		}
		n.head = make([]byte, list)
		return readAt(n.t.f, n.head, n.at)
	}
	return nil
}

// part returns size bytes that stand pos behind element i.
func (n *node) part(i int, pos, size uint32, limit int64) ([]byte, error) {
	start := int64(pageHeader+i*element) + int64(pos)
	end := start + int64(size)
	if int64(size) > limit || end > n.size || start < int64(pageHeader+n.count*element) {
		return nil, damaged("element %d of the page at byte %d lies outside", i, n.at)
	}
	if end <= int64(len(n.head)) {
		return n.head[start:end:end], nil
	}
	if err := n.t.spend(int64(size)); err != nil {
		return nil, err
	}
	b := make([]byte, size)
	return b, readAt(n.t.f, b, n.at+start)
}

// key returns key i; a node has it at 4 bytes (leaf) or 0 (branch) behind the flags.
func (n *node) key(i int) ([]byte, error) {
	e := n.head[pageHeader+i*element:]
	if n.leaf {
		return n.part(i, binary.NativeEndian.Uint32(e[4:]), binary.NativeEndian.Uint32(e[8:]), maxKey)
	}
	return n.part(i, binary.NativeEndian.Uint32(e), binary.NativeEndian.Uint32(e[4:]), maxKey)
}

func (n *node) value(i int) ([]byte, error) {
	e := n.head[pageHeader+i*element:]
	pos, key, size := binary.NativeEndian.Uint32(e[4:]), binary.NativeEndian.Uint32(e[8:]), binary.NativeEndian.Uint32(e[12:])
	if pos > 1<<31 || key > maxKey {
		return nil, damaged("element %d of the page at byte %d lies outside", i, n.at)
	}
	return n.part(i, pos+key, size, maxValue)
}

func (n *node) isBucket(i int) bool {
	return binary.NativeEndian.Uint32(n.head[pageHeader+i*element:])&bucketFlag != 0
}

func (n *node) child(i int) (*node, error) {
	return n.t.node(binary.NativeEndian.Uint64(n.head[pageHeader+i*element+8:]))
}

// find returns the value of key below n; nil, nil if there is none.
func (n *node) find(key []byte) (at *node, index int, err error) {
	for range maxDepth {
		lo, hi := 0, n.count // the first key above
		for lo < hi {
			mid := (lo + hi) / 2
			k, err := n.key(mid)
			if err != nil {
				return nil, 0, err
			}
			if bytes.Compare(k, key) <= 0 {
				lo = mid + 1
			} else {
				hi = mid
			}
		}
		if lo == 0 {
			return nil, 0, nil
		}
		if n.leaf {
			k, err := n.key(lo - 1)
			if err != nil || !bytes.Equal(k, key) {
				return nil, 0, err
			}
			return n, lo - 1, nil
		}
		if n, err = n.child(lo - 1); err != nil {
			return nil, 0, err
		}
	}
	return nil, 0, damaged("its pages are nested too deep")
}

// bucket returns the top page of a bucket.
func (t *tree) bucket(name []byte) (*node, error) {
	root, err := t.node(t.root)
	if err != nil {
		return nil, err
	}
	n, i, err := root.find(name)
	if err != nil {
		return nil, err
	}
	if n == nil || !n.leaf || !n.isBucket(i) {
		return nil, damaged("no bucket %q", name)
	}
	v, err := n.value(i)
	if err != nil {
		return nil, err
	}
	if len(v) < bucketHeader {
		return nil, damaged("bucket %q is too short", name)
	}
	if id := binary.NativeEndian.Uint64(v); id != 0 {
		return t.node(id)
	}
	if len(v) < bucketHeader+pageHeader {
		return nil, damaged("bucket %q is too short", name)
	}
	// A small bucket lies in the value itself, all of which was read.
	inline := &node{t: t, size: int64(len(v) - bucketHeader), head: v[bucketHeader:]}
	return inline, inline.check()
}

// each calls fn for every key in ascending order. Keys and values are good until fn
// returns.
func (n *node) each(fn func(key, value []byte) error) error {
	var last []byte
	return n.walk(maxDepth, func(key, value []byte) error {
		if last != nil && bytes.Compare(last, key) >= 0 {
			return damaged("its keys are out of order")
		}
		last = append(last[:0], key...)
		return fn(key, value)
	})
}

func (n *node) walk(depth int, fn func(key, value []byte) error) error {
	if depth == 0 {
		return damaged("its pages are nested too deep")
	}
	for i := range n.count {
		if !n.leaf {
			child, err := n.child(i)
			if err == nil {
				err = child.walk(depth-1, fn)
			}
			if err != nil {
				return err
			}
			continue
		}
		key, err := n.key(i)
		if err != nil {
			return err
		}
		value, err := n.value(i)
		if err != nil {
			return err
		}
		if err := fn(key, value); err != nil {
			return fmt.Errorf("record %x: %w", key, err)
		}
	}
	return nil
}
