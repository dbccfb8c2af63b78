package journal

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
)

// A summary tells what a block holds, so that a query can pass over the block without
// reading it: numbers by range, and the different values as long as they are few.
type summary struct {
	rows               int
	minTime, maxTime   int64
	minTotal, maxTotal int64
	callers, statuses  numberSet
	texts              [textCount]textSet // of the summarised texts
	ids                idSet
}

// summarised are the texts of which a summary lists the values.
var summarised = [...]int{tListener, tRoute, tUpstream, tEndpoint, tMethod, tHost, tClass, tFault}

const (
	maxNumbers   = 32   // in a numberSet
	maxTexts     = 64   // in a textSet
	maxTextBytes = 2048 // likewise
	maxHeads     = 8    // in an idSet

	// maxSummary is more than a summary takes in bytes: eight sets of texts, two of
	// numbers, the ranges, and ten bits for each id.
	maxSummary = 32 << 10
)

// A numberSet holds every value of a column, or is unknown.
type numberSet struct {
	known  bool
	values []int64
}

// A textSet holds every value of a column, or is unknown.
type textSet struct {
	known  bool
	values [][]byte
}

// An idSet holds the ids that count as ranges, and all others in a Bloom filter.
type idSet struct {
	ranges []idRange
	bloom  bloom
}

type idRange struct {
	head     []byte
	min, max int64
}

// summarise makes the summary of what gather took apart.
func (e *encoder) summarise(row uint64) {
	b := append(e.summary[:0], blockVersion)
	b = binary.AppendUvarint(b, row)
	b = binary.AppendUvarint(b, uint64(e.rows))
	lo, hi := e.numbers[nTime][0], e.numbers[nTime][0]
	least, most := int64(0), int64(0)
	for i, t := range e.numbers[nTime] {
		lo, hi = min(lo, t), max(hi, t)
		total := e.numbers[nFirstByte][i] + e.numbers[nRest][i]
		if i == 0 {
			least, most = total, total
		}
		least, most = min(least, total), max(most, total)
	}
	for _, v := range []int64{lo, hi, least, most} {
		b = appendVarint(b, v)
	}
	b = appendNumberSet(b, e.numbers[nCaller])
	b = appendNumberSet(b, e.numbers[nStatus])
	for _, i := range summarised {
		b = appendTextSet(b, e.dicts[i])
	}
	b = e.appendIDs(b)
	e.summary = binary.LittleEndian.AppendUint32(b, crc32.Checksum(b, castagnoli))
}

func appendNumberSet(b []byte, column []int64) []byte {
	var set [maxNumbers]int64
	n := 0
next:
	for i, v := range column {
		if i > 0 && v == column[i-1] {
			continue
		}
		for _, have := range set[:n] {
			if v == have {
				continue next
			}
		}
		if n == maxNumbers {
			return append(b, 0) // unknown
		}
		set[n] = v
		n++
	}
	b = append(b, 1)
	b = binary.AppendUvarint(b, uint64(n))
	for _, v := range set[:n] {
		b = appendVarint(b, v)
	}
	return b
}

func appendTextSet(b []byte, d *dictionary) []byte {
	if len(d.ends) > maxTexts || len(d.bytes) > maxTextBytes {
		return append(b, 0) // unknown
	}
	b = append(b, 1)
	b = binary.AppendUvarint(b, uint64(len(d.ends)))
	for i := range d.ends {
		v := d.value(i)
		b = binary.AppendUvarint(b, uint64(len(v)))
		b = append(b, v...)
	}
	return b
}

// appendIDs stores as ranges the heads that count without large gaps, as our own do. Ids
// that clients sent usually do not.
func (e *encoder) appendIDs(b []byte) []byte {
	const gap = 64
	heads := e.dicts[tID]
	var ranges [maxHeads]struct {
		min, max int64
		rows     int64
		dense    bool
	}
	inRanges := int64(0)
	if len(heads.ends) <= maxHeads {
		for i, code := range heads.codes {
			r, v := &ranges[code], e.tails[i]
			if r.rows == 0 {
				r.min, r.max = v, v
			}
			r.min, r.max = min(r.min, v), max(r.max, v)
			r.rows++
		}
		n := uint64(0)
		for i := range heads.ends {
			r := &ranges[i]
			r.dense = (r.max-r.min)/gap <= r.rows
			if r.dense {
				n++
				inRanges += r.rows
			}
		}
		b = binary.AppendUvarint(b, n)
		for i := range heads.ends {
			if r := &ranges[i]; r.dense {
				b = binary.AppendUvarint(b, uint64(len(heads.value(i))))
				b = append(b, heads.value(i)...)
				b = appendVarint(appendVarint(b, r.min), r.max)
			}
		}
	} else {
		b = append(b, 0)
	}
	filter := newBloom(e.rows - int(inRanges))
	for i, code := range heads.codes {
		if len(filter) > 0 && (len(heads.ends) > maxHeads || !ranges[code].dense) {
			filter.add(hashID(heads.value(int(code)), e.tails[i]))
		}
	}
	b = binary.AppendUvarint(b, uint64(len(filter)))
	return append(b, filter...)
}

// readSummary reads what summarise made for row. The parts of s are parts of b.
func readSummary(s *summary, row uint64, b []byte) error {
	if len(b) < 8 {
		return damaged("a summary of %d bytes", len(b))
	}
	body := b[:len(b)-4]
	if crc32.Checksum(body, castagnoli) != binary.LittleEndian.Uint32(b[len(body):]) {
		return damaged("wrong checksum of a summary")
	}
	r := cursor{b: body[1:]}
	if body[0] != blockVersion {
		return fmt.Errorf("summary version %d, only %d is known: %w", body[0], blockVersion, errNewer)
	}
	if at := r.uvarint(); at != row {
		return damaged("summary of record %d where that of %d should be", at, row)
	}
	rows := r.uvarint()
	s.minTime, s.maxTime, s.minTotal, s.maxTotal = r.varint(), r.varint(), r.varint(), r.varint()
	r.numberSet(&s.callers)
	r.numberSet(&s.statuses)
	for _, i := range summarised {
		r.textSet(&s.texts[i])
	}
	r.idSet(&s.ids)
	if r.failed || len(r.b) > 0 || rows == 0 || rows > maxRows {
		return damaged("summary of record %d does not read", row)
	}
	s.rows = int(rows)
	return nil
}

func (r *cursor) numberSet(s *numberSet) {
	s.values = s.values[:0]
	if s.known = r.byte() == 1; !s.known {
		return
	}
	n := r.uvarint()
	if n > maxNumbers {
		r.failed = true
		return
	}
	for range n {
		s.values = append(s.values, r.varint())
	}
}

func (r *cursor) textSet(s *textSet) {
	s.values = s.values[:0]
	if s.known = r.byte() == 1; !s.known {
		return
	}
	n := r.uvarint()
	if n > maxTexts {
		r.failed = true
		return
	}
	for range n {
		s.values = append(s.values, r.bytes(r.uvarint()))
	}
}

func (r *cursor) idSet(s *idSet) {
	s.ranges = s.ranges[:0]
	n := r.uvarint()
	if n > maxHeads {
		r.failed = true
		return
	}
	for range n {
		s.ranges = append(s.ranges, idRange{r.bytes(r.uvarint()), r.varint(), r.varint()})
	}
	s.bloom = r.bytes(r.uvarint())
}

// may reports whether the block may hold the id.
func (s *idSet) may(head []byte, tail int64) bool {
	for _, r := range s.ranges {
		if tail >= r.min && tail <= r.max && string(r.head) == string(head) {
			return true
		}
	}
	return s.bloom.may(hashID(head, tail))
}
