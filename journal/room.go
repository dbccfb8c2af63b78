package journal

import (
	"errors"
	"fmt"
	"math"
	"os"
)

// errNoRoom is about files that cannot be deleted and leave too little of MaxSize.
var errNoRoom = errors.New("no room is left below max_size; delete files in the directory of the log that mtlsproxyd cannot delete, or raise max_size")

// blockSize is how many raw bytes fill a block of a segment of this size. The blocks of a
// small log are small, because a commit may have to write the last four anew.
func blockSize(segmentSize int64) int {
	const least = 64 << 10
	if segmentSize <= 0 {
		return maxRaw
	}
	return int(min(max(segmentSize/8, least), maxRaw))
}

// growth bounds by how much the file grows if so many records of so many raw bytes are
// added, or none and it is sealed. Nothing is taken for granted of how they pack, and of
// bbolt that it finds no free page to use again: it writes anew the last page of each
// bucket, in which up to four values stand that are larger than a page.
func (a *active) growth(raw, records int) int64 {
	const (
		perRecord = 16 // a block takes at most so much more than the raw record
		perBlock  = 1 << 10
		branches  = 24 // pages of the way down to the last of each bucket
	)
	page := int64(os.Getpagesize())
	rows := a.rows + records
	data := int64(len(a.raw) + raw + rows*perRecord)
	blocks := int64((len(a.raw)+raw)/a.maxRaw + rows/maxRows + 1)
	n := data + blocks*(perBlock+maxSummary+2*page) + branches*page
	for _, size := range a.last {
		n += int64(size) + page
	}
	parts := int64(a.rows/tailPart + 1)
	n += parts * perBlock
	if size, err := a.size(); err == nil {
		n += (size + n) / page * 16 // the list of free pages, old and new
	}
	return n + page
}

// bound makes every commit fail by which the file would be larger than size.
func (a *active) bound(size int64) {
	a.db.MaxSize = int(min(max(size, 1), math.MaxInt)) // 0 would be no bound
}

// makeRoom deletes old files until the segment being written can grow so much, and
// reports whether it can. It deletes nothing if that would not do.
func (w *writer) makeRoom(growth int64) bool {
	limits := w.l.limits.Load()
	if w.segment.size+growth > limits.MaxSize {
		growth = 0
	}
	w.store.retain(limits.MaxSize, limits.MaxAge, growth, true)
	room := limits.MaxSize - w.store.bytes()
	w.live.bound(w.segment.size + room)
	return growth > 0 && growth <= room
}

// closeUp seals the segment being written, or, without the room that this takes, closes
// it as it is: its tail stays in small blocks.
func (w *writer) closeUp() error {
	if !w.makeRoom(w.live.growth(0, 0)) {
		return w.live.close(false)
	}
	return w.live.seal()
}

// noRoom is errNoRoom with numbers.
func (w *writer) noRoom() error {
	return fmt.Errorf("%w (%d of %d bytes are used)", errNoRoom, w.store.bytes(), w.l.limits.Load().MaxSize)
}
