package journal

import (
	"encoding/binary"
	"hash/crc32"

	"github.com/klauspost/compress/zstd"
)

const (
	blockVersion = 1
	maxRaw       = 1 << 20 // a block is full with so many bytes of raw records

	// maxColumns bounds what the columns of one block take when they are unpacked. Each
	// holds less than the raw records; one record may come on top.
	maxColumns = 4 * maxRaw

	tailLength = 12 // hexadecimal digits at the end of an id that count
)

// Columns of a block: the numbers, the texts (in place of the id its head), and the
// counting end of the id.
const (
	columnText  = numberCount
	columnTail  = columnText + textCount
	columnCount = columnTail + 1
)

// How a column is stored.
const (
	plain    = 0
	packed   = 1 // zstd
	constant = 2 // a number that is the same in every row
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// An encoder turns raw records into a block and its summary. It is for one goroutine.
type encoder struct {
	zstd    *zstd.Encoder // nil: not packed
	rows    int
	numbers [numberCount][]int64
	dicts   [textCount]*dictionary
	tails   []int64
	head    []byte
	column  []byte
	out     []byte
	summary []byte
}

func newEncoder(compress bool) (*encoder, error) {
	e := &encoder{}
	for i := range e.dicts {
		e.dicts[i] = newDictionary()
	}
	if !compress {
		return e, nil
	}
	z, err := zstd.NewWriter(nil, zstd.WithEncoderConcurrency(1), zstd.WithEncoderLevel(zstd.SpeedFastest),
		zstd.WithEncoderCRC(false), zstd.WithWindowSize(maxRaw), zstd.WithLowerEncoderMem(true))
	e.zstd = z
	return e, err
}

// encode packs raw records, of which row is the number of the first in its segment. The
// results are good until the next call.
func (e *encoder) encode(row uint64, raw []byte) (block, summary []byte, err error) {
	if err := e.gather(raw); err != nil {
		return nil, nil, err
	}
	e.out = append(e.out[:0], blockVersion)
	e.out = binary.AppendUvarint(e.out, row)
	e.out = binary.AppendUvarint(e.out, uint64(e.rows))
	for i := range e.numbers {
		e.putNumbers(e.numbers[i], i == nTime)
	}
	for _, d := range e.dicts {
		e.putDictionary(d)
	}
	e.putNumbers(e.tails, true)
	e.out = binary.LittleEndian.AppendUint32(e.out, crc32.Checksum(e.out, castagnoli))
	e.summarise(row)
	return e.out, e.summary, nil
}

// gather takes the records apart into columns.
func (e *encoder) gather(raw []byte) error {
	e.rows = 0
	for i := range e.numbers {
		e.numbers[i] = e.numbers[i][:0]
	}
	for _, d := range e.dicts {
		d.reset()
	}
	e.tails = e.tails[:0]
	var n numbers
	var t texts
	for len(raw) > 0 {
		var r []byte
		r, raw = nextRaw(raw)
		if err := readRaw(r, &n, &t); err != nil {
			return err
		}
		for i, v := range n {
			e.numbers[i] = append(e.numbers[i], v)
		}
		for i, v := range t[:tID] {
			e.dicts[i].add(v)
		}
		head, tail := splitID(e.head[:0], t[tID])
		e.head = head
		e.dicts[tID].add(head)
		e.tails = append(e.tails, tail)
		e.rows++
	}
	return nil
}

// splitID divides an id that ends like a hexadecimal counter. The head's first byte
// tells whether it was divided.
func splitID(dst, id []byte) (head []byte, tail int64) {
	cut := len(id) - tailLength
	if cut < 0 {
		return append(append(dst, 0), id...), 0
	}
	for _, c := range id[cut:] {
		switch {
		case c >= '0' && c <= '9':
			tail = tail<<4 | int64(c-'0')
		case c >= 'a' && c <= 'f':
			tail = tail<<4 | int64(c-'a'+10)
		default:
			return append(append(dst, 0), id...), 0
		}
	}
	return append(append(dst, 1), id[:cut]...), tail
}

// joinID appends the id that splitID divided.
func joinID(dst, head []byte, tail int64) []byte {
	if len(head) == 0 {
		return dst
	}
	dst = append(dst, head[1:]...)
	if head[0] == 0 {
		return dst
	}
	for shift := 4 * (tailLength - 1); shift >= 0; shift -= 4 {
		dst = append(dst, "0123456789abcdef"[tail>>shift&0xf])
	}
	return dst
}

// putNumbers stores a column of numbers, of ascending ones the differences.
func (e *encoder) putNumbers(v []int64, ascending bool) {
	same := true
	for _, x := range v {
		if x != v[0] {
			same = false
			break
		}
	}
	c := e.column[:0]
	if same && len(v) > 0 {
		e.column = appendVarint(c, v[0])
		e.put(constant, e.column, len(e.column))
		return
	}
	last := int64(0)
	for _, x := range v {
		c = appendVarint(c, x-last)
		if ascending {
			last = x
		}
	}
	e.column = c
	e.pack()
}

// putDictionary stores a column of texts: the number of different ones, they
// themselves, and the rows' codes: 0 for the next one not yet seen, otherwise the code
// + 1. If all are the same, or all different, there is nothing more to say.
func (e *encoder) putDictionary(d *dictionary) {
	c := binary.AppendUvarint(e.column[:0], uint64(len(d.ends)))
	start := uint32(0)
	for _, end := range d.ends {
		c = binary.AppendUvarint(c, uint64(end-start))
		start = end
	}
	c = append(c, d.bytes...)
	if n := len(d.ends); n > 1 && n < e.rows {
		seen := uint16(0)
		for _, code := range d.codes {
			if code == seen {
				seen++
				c = append(c, 0)
			} else {
				c = binary.AppendUvarint(c, uint64(code)+1)
			}
		}
	}
	e.column = c
	e.pack()
}

// pack stores e.column, smaller if that is worth it.
func (e *encoder) pack() {
	const worth = 48
	if e.zstd == nil || len(e.column) < worth {
		e.put(plain, e.column, len(e.column))
		return
	}
	size := len(e.column)
	e.column = e.zstd.EncodeAll(e.column, e.column)
	if small := e.column[size:]; len(small) < size-size/16 {
		e.put(packed, small, size)
		return
	}
	e.put(plain, e.column[:size], size)
}

func (e *encoder) put(how byte, column []byte, size int) {
	e.out = append(e.out, how)
	e.out = binary.AppendUvarint(e.out, uint64(size))
	e.out = binary.AppendUvarint(e.out, uint64(len(column)))
	e.out = append(e.out, column...)
}
