package journal

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"

	"github.com/klauspost/compress/zstd"
)

// errDamaged is wrapped by every error about bytes that are not what was written.
var errDamaged = errors.New("damaged")

// errNewer is about what is whole, but unknown here.
var errNewer = errors.New("it was written by a newer mtlsproxyd")

func damaged(format string, args ...any) error {
	return fmt.Errorf("%w: %s", errDamaged, fmt.Sprintf(format, args...))
}

// newUnpacker returns what a decoder unpacks with; several may share it.
func newUnpacker() (*zstd.Decoder, error) {
	return zstd.NewReader(nil, zstd.WithDecoderConcurrency(2), zstd.WithDecoderLowmem(true),
		zstd.WithDecoderMaxMemory(maxColumns), zstd.WithDecoderMaxWindow(maxColumns))
}

// A decoder reads blocks, column by column as they are asked for. It keeps its memory
// from block to block and is for one goroutine.
type decoder struct {
	zstd    *zstd.Decoder
	row     uint64 // number of the first record in its segment
	rows    int
	columns [columnCount]column
}

type column struct {
	how     byte
	size    int
	stored  []byte
	have    bool
	buf     []byte   // unpacked
	numbers []int64  // of a number column, one for each row
	values  [][]byte // of a text column
	codes   []uint16 // one for each row
}

// load looks over a block; what the decoder returned before is void. The block must stay
// as it is while the decoder is used.
func (d *decoder) load(block []byte) error {
	if len(block) < 8 {
		return damaged("a block of %d bytes", len(block))
	}
	body := block[:len(block)-4]
	if crc32.Checksum(body, castagnoli) != binary.LittleEndian.Uint32(block[len(body):]) {
		return damaged("wrong checksum of a block")
	}
	if body[0] != blockVersion {
		return fmt.Errorf("block version %d, only %d is known: %w", body[0], blockVersion, errNewer)
	}
	r := cursor{b: body[1:]}
	d.row = r.uvarint()
	rows := r.uvarint()
	if r.failed || rows == 0 || rows > maxRows {
		return damaged("a block of %d records", rows)
	}
	d.rows = int(rows)
	total := uint64(0)
	for i := range d.columns {
		c := &d.columns[i]
		c.have = false
		c.how = r.byte()
		size := r.uvarint()
		c.stored = r.bytes(r.uvarint())
		total += min(size, maxColumns+1)
		if (i < columnText || i == columnTail) && size > rows*binary.MaxVarintLen64 {
			return damaged("column %d of a block is too large for %d numbers", i, rows)
		}
		if r.failed || total > maxColumns || c.how != packed && size != uint64(len(c.stored)) {
			return damaged("column %d of a block is too large", i)
		}
		c.size = int(size)
	}
	if len(r.b) > 0 {
		return damaged("%d bytes behind a block", len(r.b))
	}
	return nil
}

// unpack returns the bytes of a column.
func (d *decoder) unpack(c *column) ([]byte, error) {
	if c.how != packed {
		return c.stored, nil
	}
	if cap(c.buf) < c.size {
		c.buf = make([]byte, 0, c.size)
	}
	out, err := d.zstd.DecodeAll(c.stored, c.buf[:0])
	if err != nil {
		return nil, damaged("unpacking a column: %v", err)
	}
	if len(out) != c.size {
		return nil, damaged("a column of %d bytes, want %d", len(out), c.size)
	}
	c.buf = out
	return out, nil
}

// number returns a column of numbers.
func (d *decoder) number(i int) ([]int64, error) {
	c := &d.columns[i]
	if c.have {
		return c.numbers, nil
	}
	b, err := d.unpack(c)
	if err != nil {
		return nil, err
	}
	if cap(c.numbers) < d.rows {
		c.numbers = make([]int64, maxRows)
	}
	c.numbers = c.numbers[:d.rows]
	if !readNumbers(c.numbers, b, c.how == constant, i == nTime || i == columnTail) {
		return nil, damaged("column %d of a block does not read", i)
	}
	c.have = true
	return c.numbers, nil
}

func readNumbers(dst []int64, b []byte, same, ascending bool) bool {
	if same {
		u, size := uvarint(b)
		for i := range dst {
			dst[i] = unzigzag(u)
		}
		return size > 0 && size == len(b)
	}
	last, at := int64(0), 0
	for i := range dst {
		u, size := uvarint(b[at:])
		if size <= 0 {
			return false
		}
		at += size
		dst[i] = last + unzigzag(u)
		if ascending {
			last = dst[i]
		}
	}
	return at == len(b)
}

// text returns the different values of a column of texts, and for each row which of
// them it has.
func (d *decoder) text(i int) (values [][]byte, codes []uint16, err error) {
	c := &d.columns[columnText+i]
	if c.have {
		return c.values, c.codes, nil
	}
	b, err := d.unpack(c)
	if err != nil {
		return nil, nil, err
	}
	r := cursor{b: b}
	if !r.values(&c.values, d.rows) {
		return nil, nil, damaged("column %d of a block does not read", columnText+i)
	}
	if cap(c.codes) < d.rows {
		c.codes = make([]uint16, maxRows)
	}
	c.codes = c.codes[:d.rows]
	if !r.codes(c.codes, len(c.values)) || len(r.b) > 0 {
		return nil, nil, damaged("codes of column %d of a block do not read", columnText+i)
	}
	c.have = true
	return c.values, c.codes, nil
}

// A cursor reads from the front of b. After the first failure it returns nothing.
type cursor struct {
	b      []byte
	failed bool
}

func (r *cursor) byte() byte {
	b := r.bytes(1)
	if len(b) == 0 {
		return 0
	}
	return b[0]
}

func (r *cursor) uvarint() uint64 {
	u, size := uvarint(r.b)
	if size <= 0 {
		r.failed, r.b = true, nil
		return 0
	}
	r.b = r.b[size:]
	return u
}

func (r *cursor) varint() int64 { return unzigzag(r.uvarint()) }

func (r *cursor) bytes(n uint64) []byte {
	if n > uint64(len(r.b)) {
		r.failed, r.b = true, nil
		return nil
	}
	out := r.b[:n:n]
	r.b = r.b[n:]
	return out
}

// values reads the values of a dictionary of at most limit.
func (r *cursor) values(dst *[][]byte, limit int) bool {
	n := r.uvarint()
	if r.failed || n == 0 || n > uint64(limit) {
		return false
	}
	lengths := cursor{b: r.b}
	for range n {
		lengths.uvarint()
	}
	text := cursor{b: lengths.b}
	*dst = (*dst)[:0]
	for range n {
		*dst = append(*dst, text.bytes(r.uvarint()))
	}
	r.b = text.b
	return !r.failed && !lengths.failed && !text.failed
}

// codes reads a code below n for every row.
func (r *cursor) codes(dst []uint16, n int) bool {
	switch n {
	case 1:
		clear(dst)
		return true
	case len(dst):
		for i := range dst {
			dst[i] = uint16(i)
		}
		return true
	}
	seen := 0
	for i := range dst {
		u := r.uvarint()
		switch {
		case u == 0:
			dst[i] = uint16(seen)
			seen++
		case u <= uint64(seen):
			dst[i] = uint16(u - 1)
		default:
			return false
		}
	}
	return !r.failed && seen == n
}
