package journal

import (
	"encoding/binary"
	"errors"
	"math"
	"time"
	"unicode/utf8"
)

// Bounds of what is kept of a record. Longer values are cut, and end in "…".
const (
	maxID   = 128
	maxPath = 4096
	maxText = 256 // host, method and the names
)

// rawFixed is more than a raw record takes beside the bytes of its texts.
const rawFixed = 2 + 8 + len(numbers{})*binary.MaxVarintLen64 + len(texts{})*2 + len(texts{})*len("…")

// A record waits for the writer in raw form: its length in two bytes, its numbers as
// varints, its texts each behind their length.
type (
	numbers [numberCount]int64
	texts   [textCount][]byte
)

// The numbers of a record, in the order in which they are stored.
const (
	nTime = iota // microseconds since 1970, like all times here
	nCaller
	nStatus
	nBytesIn
	nBytesOut
	nQueue
	nConnect
	nFirstByte
	nRest // the total less the time to the first byte: a smaller number
	nAttempts
	nReused
	nTLS
	nGeneration
	numberCount
)

// The texts of a record, in the order in which they are stored.
const (
	tListener = iota
	tRoute
	tUpstream
	tEndpoint
	tMethod
	tHost
	tPath
	tClass
	tFault
	tSerial
	tID
	textCount
)

// rawBound is how many bytes appendRaw may need for r.
func rawBound(r *Record) int {
	return rawFixed + min(len(r.ID), maxID) + min(len(r.Path), maxPath) +
		min(len(r.Listener), maxText) + min(len(r.Route), maxText) + min(len(r.Upstream), maxText) +
		min(len(r.Endpoint), maxText) + min(len(r.Method), maxText) + min(len(r.Host), maxText) +
		min(len(r.Class), maxText) + min(len(r.Fault), maxText) + min(len(r.Serial), maxText)
}

// appendRaw appends r to b, in which rawBound(r) bytes must be free.
func appendRaw(b []byte, r *Record) []byte {
	start := len(b)
	b = append(b, 0, 0)
	first, total := micros(r.FirstByte), micros(r.Total)
	b = binary.LittleEndian.AppendUint64(b, uint64(r.Time.UnixMicro()))
	b = appendVarint(b, r.Caller)
	b = appendVarint(b, int64(r.Status))
	b = appendVarint(b, r.BytesIn)
	b = appendVarint(b, r.BytesOut)
	b = appendVarint(b, micros(r.Queue))
	b = appendVarint(b, micros(r.Connect))
	b = appendVarint(b, first)
	b = appendVarint(b, total-first)
	b = appendVarint(b, int64(r.Attempts))
	reused := int64(0)
	if r.Reused {
		reused = 1
	}
	b = appendVarint(b, reused)
	b = appendVarint(b, int64(r.TLS))
	b = appendVarint(b, int64(r.Generation))
	b = appendText(b, r.Listener, maxText)
	b = appendText(b, r.Route, maxText)
	b = appendText(b, r.Upstream, maxText)
	b = appendText(b, r.Endpoint, maxText)
	b = appendText(b, r.Method, maxText)
	b = appendText(b, r.Host, maxText)
	b = appendText(b, r.Path, maxPath)
	b = appendText(b, r.Class, maxText)
	b = appendText(b, r.Fault, maxText)
	b = appendText(b, r.Serial, maxText)
	b = appendText(b, r.ID, maxID)
	binary.LittleEndian.PutUint16(b[start:], uint16(len(b)-start))
	return b
}

// micros rounds up, so that what took no time at all stays the only zero.
func micros(d time.Duration) int64 {
	if d <= 0 {
		return 0
	}
	us := int64(d / time.Microsecond)
	if d%time.Microsecond != 0 {
		us++
	}
	return us
}

func duration(us int64) time.Duration {
	if us > math.MaxInt64/int64(time.Microsecond) {
		return math.MaxInt64
	}
	return time.Duration(us) * time.Microsecond
}

func zigzag(v int64) uint64   { return uint64(v)<<1 ^ uint64(v>>63) }
func unzigzag(u uint64) int64 { return int64(u>>1) ^ -int64(u&1) }

// appendVarint is binary.AppendVarint, which the compiler does not inline, with a short
// way for the many small numbers.
func appendVarint(b []byte, v int64) []byte {
	u := zigzag(v)
	if u < 0x80 {
		return append(b, byte(u))
	}
	return binary.AppendUvarint(b, u)
}

func appendText[T string | []byte](b []byte, s T, limit int) []byte {
	if len(s) <= limit {
		if len(s) < 0x80 {
			b = append(b, byte(len(s)))
		} else {
			b = binary.AppendUvarint(b, uint64(len(s)))
		}
		return append(b, s...)
	}
	end := cut(s, limit)
	b = binary.AppendUvarint(b, uint64(end+len("…")))
	return appendCut(b, s, limit)
}

// cut is where a text that is longer than limit ends, so that "…" fits behind.
func cut[T string | []byte](s T, limit int) int {
	end := limit - len("…")
	for least := end - utf8.UTFMax; end > least && !utf8.RuneStart(s[end]); {
		end-- // not in the middle of a character
	}
	return end
}

func appendCut[T string | []byte](b []byte, s T, limit int) []byte {
	b = append(b, s[:cut(s, limit)]...)
	return append(b, "…"...)
}

var errRaw = errors.New("BUG: a raw record does not read back")

// nextRaw cuts the first record off b.
func nextRaw(b []byte) (record, rest []byte) {
	n := int(binary.LittleEndian.Uint16(b))
	return b[:n], b[n:]
}

// readRaw takes a raw record apart. The texts are parts of b.
func readRaw(b []byte, n *numbers, t *texts) error {
	if len(b) < 10 {
		return errRaw
	}
	n[nTime] = int64(binary.LittleEndian.Uint64(b[2:]))
	at := 10
	for i := nTime + 1; i < numberCount; i++ {
		u, size := uvarint(b[at:])
		if size <= 0 {
			return errRaw
		}
		n[i] = unzigzag(u)
		at += size
	}
	for i := range t {
		u, size := uvarint(b[at:])
		if size <= 0 || u > uint64(len(b)-at-size) {
			return errRaw
		}
		at += size
		t[i] = b[at : at+int(u)]
		at += int(u)
	}
	return nil
}

// uvarint is binary.Uvarint with a short way for the many small numbers.
func uvarint(b []byte) (value uint64, size int) {
	if len(b) > 0 && b[0] < 0x80 {
		return uint64(b[0]), 1
	}
	return binary.Uvarint(b)
}
