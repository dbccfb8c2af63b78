package journal

import (
	"bytes"
	"hash/maphash"
)

// maxRows is how many records a block holds at most. Codes of its dictionaries fit in
// sixteen bits.
const maxRows = 4096

// A dictionary numbers the different values of a column in the order in which they
// first come.
type dictionary struct {
	seed  maphash.Seed
	slots []uint16 // open addressing; 0 is empty, otherwise the code + 1
	ends  []uint32 // of each value in bytes
	bytes []byte
	codes []uint16 // one for each row
}

func newDictionary() *dictionary {
	return &dictionary{seed: maphash.MakeSeed(), slots: make([]uint16, 2*maxRows)}
}

func (d *dictionary) reset() {
	if len(d.ends) > 0 {
		clear(d.slots)
	}
	d.ends, d.bytes, d.codes = d.ends[:0], d.bytes[:0], d.codes[:0]
}

func (d *dictionary) value(code int) []byte {
	start := uint32(0)
	if code > 0 {
		start = d.ends[code-1]
	}
	return d.bytes[start:d.ends[code]]
}

// add appends a row.
func (d *dictionary) add(v []byte) {
	if n := len(d.codes); n > 0 {
		if last := d.codes[n-1]; bytes.Equal(d.value(int(last)), v) {
			d.codes = append(d.codes, last)
			return
		}
	}
	mask := uint64(len(d.slots) - 1)
	at := maphash.Bytes(d.seed, v) & mask
	for ; d.slots[at] != 0; at = (at + 1) & mask {
		if code := d.slots[at] - 1; bytes.Equal(d.value(int(code)), v) {
			d.codes = append(d.codes, code)
			return
		}
	}
	d.slots[at] = uint16(len(d.ends) + 1)
	d.codes = append(d.codes, uint16(len(d.ends)))
	d.bytes = append(d.bytes, v...)
	d.ends = append(d.ends, uint32(len(d.bytes)))
}
