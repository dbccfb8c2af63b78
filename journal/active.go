package journal

import (
	"encoding/binary"
	"fmt"
	"os"
	"runtime/debug"
	"time"

	"go.etcd.io/bbolt"
)

// tailPart is how many records a part of the tail has at least before the next begins.
// The parts are small, so that a commit of a few records writes little.
const tailPart = 32

// An active is the segment being written. bbolt opens no file but those that it makes
// itself, and only writes: everything else reads by [segmentFile].
//
// After an error it is not used again.
type active struct {
	db      *bbolt.DB
	path    string
	encoder *encoder
	row     uint64   // of the first record in raw
	raw     []byte   // the records that are not yet in a large block
	rows    int      // in raw
	part    struct { // the last one of the tail
		start int // in raw
		row   uint64
	}
	hasTail bool   // there are parts in the file
	maxRaw  int    // a block is full with so many bytes of raw records
	last    [4]int // sizes of the newest blocks with their summaries: see growth
}

// A put is a large block to be written.
type put struct {
	row            uint64
	block, summary []byte
}

// createActive makes the file. Its size may grow to about twice limit without remapping.
func createActive(path string, limit int64, e *encoder, created time.Time) (a *active, err error) {
	defer guard(&err)
	db, err := bbolt.Open(path, 0o600, &bbolt.Options{
		// The file belongs to nobody else: it did not exist.
		Timeout: time.Second,
		OpenFile: func(name string, flag int, mode os.FileMode) (*os.File, error) {
			return os.OpenFile(name, flag|os.O_EXCL, mode)
		},
		FreelistType: bbolt.FreelistMapType,
		// The size of the file is exactly what was written, and no commit needs a third sync.
		NoGrowSync:      true,
		InitialMmapSize: int(2*limit + 16<<20),
		NoStatistics:    true,
	})
	if err != nil {
		return nil, err
	}
	err = db.Update(func(tx *bbolt.Tx) error {
		for _, name := range [][]byte{bucketSummaries, bucketBlocks, bucketTail} {
			if _, err := tx.CreateBucket(name); err != nil {
				return err
			}
		}
		info, err := tx.CreateBucket(bucketInfo)
		if err != nil {
			return err
		}
		if err := info.Put(infoCreated, binary.BigEndian.AppendUint64(nil, uint64(created.UnixMicro()))); err != nil {
			return err
		}
		return info.Put(infoFormat, formatName)
	})
	if err != nil {
		_ = db.Close() // the error above matters more
		return nil, err
	}
	db.AllocSize = 0 // so that bound is exact to a page
	return &active{db: db, path: path, encoder: e, maxRaw: blockSize(limit)}, nil
}

// guard turns a panic into an error: bbolt panics on what it does not understand, and a
// memory map faults where its file was cut short. It must be deferred itself.
func guard(err *error) {
	if p := recover(); p != nil {
		*err = damaged("writing it panicked: %v", p)
	}
}

// add commits the records of the views, with everything about them on disk.
func (a *active) add(views []view) (err error) {
	defer guard(&err)
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	var puts []put
	for _, v := range views {
		for rest := v.data; len(rest) > 0; {
			var r []byte
			r, rest = nextRaw(rest)
			a.raw = append(a.raw, r...)
			a.rows++
			if a.rows == maxRows || len(a.raw) >= a.maxRaw {
				p, err := a.fold()
				if err != nil {
					return err
				}
				puts = append(puts, p)
			}
		}
	}
	return a.db.Update(func(tx *bbolt.Tx) error {
		if err := a.putBlocks(tx, puts); err != nil {
			return err
		}
		return a.putTail(tx)
	})
}

// fold makes a large block of the tail.
func (a *active) fold() (put, error) {
	block, summary, err := a.encoder.encode(a.row, a.raw)
	if err != nil {
		return put{}, err
	}
	p := put{a.row, append([]byte(nil), block...), append([]byte(nil), summary...)}
	a.row += uint64(a.rows)
	a.raw, a.rows = a.raw[:0], 0
	a.part.start, a.part.row = 0, a.row
	return p, nil
}

func (a *active) putBlocks(tx *bbolt.Tx, puts []put) error {
	if len(puts) == 0 {
		return nil
	}
	for _, p := range puts {
		if err := tx.Bucket(bucketSummaries).Put(rowKey(p.row), p.summary); err != nil {
			return err
		}
		if err := tx.Bucket(bucketBlocks).Put(rowKey(p.row), p.block); err != nil {
			return err
		}
		copy(a.last[1:], a.last[:])
		a.last[0] = len(p.block) + len(p.summary)
	}
	if !a.hasTail {
		return nil
	}
	a.hasTail = false
	// The blocks hold what stood in the tail.
	if err := tx.DeleteBucket(bucketTail); err != nil {
		return err
	}
	_, err := tx.CreateBucket(bucketTail)
	return err
}

func (a *active) putTail(tx *bbolt.Tx) error {
	if a.part.start == len(a.raw) {
		return nil
	}
	block, _, err := a.encoder.encode(a.part.row, a.raw[a.part.start:])
	if err != nil {
		return err
	}
	a.hasTail = true
	if err := tx.Bucket(bucketTail).Put(rowKey(a.part.row), block); err != nil {
		return err
	}
	if next := a.row + uint64(a.rows); next-a.part.row >= tailPart {
		a.part.start, a.part.row = len(a.raw), next
	}
	return nil
}

// adopt copies blocks from another segment, as they are; their numbers must ascend and be
// below all of what comes after.
func (a *active) adopt(puts []put) (err error) {
	defer guard(&err)
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	return a.db.Update(func(tx *bbolt.Tx) error { return a.putBlocks(tx, puts) })
}

// startAt gives the next record this number. Nothing was added before.
func (a *active) startAt(row uint64) {
	a.row, a.part.row = row, row
}

// seal makes the last large block and closes the file.
func (a *active) seal() (err error) {
	defer guard(&err)
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	if a.rows > 0 {
		p, err := a.fold()
		if err != nil {
			return err
		}
		if err := a.db.Update(func(tx *bbolt.Tx) error { return a.putBlocks(tx, []put{p}) }); err != nil {
			return err
		}
	}
	return a.db.Close()
}

// close closes the file as it is. After a panic bbolt may hold its own locks for good:
// then close leaves the file open rather than wait.
func (a *active) close(broken bool) (err error) {
	defer guard(&err)
	if broken {
		return nil
	}
	return a.db.Close()
}

// size is that of the file.
func (a *active) size() (int64, error) {
	info, err := os.Stat(a.path)
	if err != nil {
		return 0, fmt.Errorf("the segment being written is gone: %w", err)
	}
	return info.Size(), nil
}
