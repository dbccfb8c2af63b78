package journal

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"strings"
	"syscall"
)

// The buckets of a segment.
var (
	bucketInfo      = []byte("info")      // what the file is: see infoFormat
	bucketSummaries = []byte("summaries") // number of its first record, big-endian -> summary of a block
	bucketBlocks    = []byte("blocks")    // the same -> the block
	bucketTail      = []byte("tail")      // the same -> a small block; one large one replaces them all
	infoFormat      = []byte("format")
	infoCreated     = []byte("created") // microseconds since 1970
	formatName      = []byte(formatPrefix + "1")
)

const formatPrefix = "mtlsproxy request log "

func rowKey(row uint64) []byte { return binary.BigEndian.AppendUint64(nil, row) }

// A segmentFile reads a segment, also while it is being written.
type segmentFile struct {
	f      *os.File
	blocks int64 // bytes of the large blocks that were read
}

// openSegment opens a segment for reading. It does not wait, whatever the file is.
func openSegment(path string) (*segmentFile, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NOFOLLOW|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	info, err := f.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = damaged("not a regular file")
	}
	if err != nil {
		_ = f.Close() // the error above matters more
		return nil, err
	}
	return &segmentFile{f: f}, nil
}

func (s *segmentFile) close() { _ = s.f.Close() } // nothing was written

// steady runs read on one state of the file. A page may be used again from the second
// commit after the one it was read in; if there was one meanwhile, read runs again.
func (s *segmentFile) steady(read func(*tree) error) error {
	const tries = 50
	for range tries {
		before, err := openTree(s.f)
		if err != nil {
			return err
		}
		txid := before.txid
		err = read(&before)
		after, err2 := openTree(s.f)
		if err2 != nil {
			return errors.Join(err, err2)
		}
		if after.txid == txid {
			return err
		}
	}
	return errors.New("the segment changes faster than it can be read; try again")
}

// contents is what a segment holds, without the large blocks.
type contents struct {
	created int64
	blocks  []packedBlock // with their summaries
	tail    []packedBlock // with themselves
}

// A packedBlock is a summary or a block; the first of its records has this number.
type packedBlock struct {
	row  uint64
	data []byte
}

// contents reads the segment's summaries and tail. With an error it returns what could
// be read all the same.
func (s *segmentFile) contents() (contents, error) {
	var c contents
	err := s.steady(func(t *tree) error {
		c = contents{}
		created, err := readInfo(t)
		if err != nil {
			return err
		}
		c.created = created
		c.blocks, err = collect(t, bucketSummaries, maxSummary)
		var err2 error
		c.tail, err2 = collect(t, bucketTail, maxValue)
		if len(c.tail) > maxParts {
			c.tail, err2 = nil, damaged("a tail of %d parts", len(c.tail))
		}
		return errors.Join(err, err2)
	})
	return c, err
}

func readInfo(t *tree) (created int64, err error) {
	info, err := t.bucket(bucketInfo)
	if err != nil {
		return 0, err
	}
	format := ""
	err = info.each(func(key, value []byte) error {
		switch {
		case string(key) == string(infoFormat):
			format = string(value)
		case string(key) == string(infoCreated) && len(value) == 8:
			created = int64(binary.BigEndian.Uint64(value))
		}
		return nil
	})
	switch {
	case err != nil || format == string(formatName):
	case strings.HasPrefix(format, formatPrefix):
		err = fmt.Errorf("it calls itself %q, want %q: %w", format, formatName, errNewer)
	default:
		err = damaged("it calls itself %q, want %q", format, formatName)
	}
	return created, err
}

// maxParts bounds the parts of a tail: each but the last has at least tailPart records,
// and all together fill no block.
const maxParts = maxRows/tailPart + 1

// collect reads a bucket. It keeps no more in memory than the file is large, even if the
// values stand in each other's place.
func collect(t *tree, bucket []byte, largest int) ([]packedBlock, error) {
	const entry = 64 // more than is kept of one beside its value; it and its block take more on disk
	var out []packedBlock
	left := t.size
	top, err := t.bucket(bucket)
	if err != nil {
		return nil, err
	}
	err = top.each(func(key, value []byte) error {
		if len(key) != 8 {
			return damaged("a key of %d bytes", len(key))
		}
		if left -= entry + int64(len(value)); left < 0 || len(value) > largest {
			return damaged("more stands in bucket %q than can be", bucket)
		}
		out = append(out, packedBlock{binary.BigEndian.Uint64(key), value})
		return nil
	})
	return out, err
}

// block reads the large block that begins with the record of this number.
func (s *segmentFile) block(row uint64) ([]byte, error) {
	var b []byte
	err := s.steady(func(t *tree) error {
		top, err := t.bucket(bucketBlocks)
		if err != nil {
			return err
		}
		n, i, err := top.find(rowKey(row))
		if err != nil {
			return err
		}
		if n == nil {
			return damaged("no block %d", row)
		}
		b, err = n.value(i)
		return err
	})
	if err == nil {
		err = s.charge(len(b))
	}
	if err != nil {
		return nil, fmt.Errorf("block %d: %w", row, err)
	}
	return b, nil
}

// charge counts the large blocks that were read. Nobody reads one twice, so that more
// bytes than the file has are the same ones again and again.
func (s *segmentFile) charge(n int) error {
	info, err := s.f.Stat()
	if err != nil {
		return err
	}
	if s.blocks += int64(n); s.blocks > info.Size() {
		return damaged("its blocks lie over each other")
	}
	return nil
}
