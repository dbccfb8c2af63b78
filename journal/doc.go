// Package journal keeps the request log: a record of every exchange, on disk, to be
// searched while it is written. Beside it, [Events] keeps the daemon's last events in
// memory.
//
// # What it promises
//
//   - [Log.Add] costs a request some hundred nanoseconds at most, no allocation and no
//     wait for the disk. What does not fit into Options.Buffer is dropped and counted.
//   - A record is on disk, synced, within a second of Add: batches are committed half a
//     second after their first record, sooner if half of the buffer is full. The end of
//     the process at any moment, kill -9 included, loses no more.
//   - All files together are never larger than MaxSize, at no moment, whatever stands in
//     the records: before each commit it is reckoned by how much the file may grow at
//     most, and bbolt is told where to stop. The oldest segments go first, whole. A disk
//     that is full for other reasons makes nothing go: records are dropped until there is
//     room, and old ones stay, or filling the disk would be a way to erase the log.
//   - No file, whatever is in it, and no error of the disk ends the process, fails a
//     request or stops the log: see Damage.
//   - Memory is bounded: Options.Buffer; for the writer about 4 MiB; for each of at most
//     sixteen queries, of which four work at one time, and sixteen followers as much as
//     the buffer holds, the summaries of one segment and one block. What is read of a
//     segment is never more than the file is large, whatever it says of itself.
//
// Times are kept in microseconds, durations rounded up to them. After an error of the
// disk in the very moment in which a commit became valid, its records may be found
// twice.
//
// # Files
//
// Options.Directory (mode 0700) holds segments, files of bbolt named
// requests-NUMBER-REPAIR.db (mode 0600); of one number the highest repair counts, and
// only it stays. NAME.new, of such a NAME, is a segment in the making and deleted at
// start; other files are left alone, and no file is replaced. "lock" is held
// with flock by the one process that writes. "quarantine" holds what was put aside.
//
// A segment has four buckets. "info": format and time of creation. "blocks": up to 4096
// records each, or 1 MiB of raw ones (an eighth of SegmentSize if that is less), under
// the number (big-endian) that the first of them has in the segment. "summaries": for
// each block what is in it, in some hundred bytes; by these a query passes over blocks.
// "tail": the records since the last block in small ones of at least 32 records, but for
// the last, which is written anew with each commit. When 4096 are together, one block
// takes the place of the tail, in the same transaction. So a commit of a few records
// writes little, and many such commits do not make many blocks.
//
// A block is: version, number of its first record, number of records, then the columns:
// for each how it is stored (plain, zstd, or a constant), its sizes and bytes; last
// CRC-32C of it all. Numbers are zigzag varints, of times and ids the differences. Texts
// are a dictionary and codes: 0 for the next value not yet seen, otherwise the value's
// place + 1; none if all values are the same or all different. An id that ends in twelve
// hexadecimal digits is split into a text and a number. A summary is: version, numbers as
// above, ranges of time and total duration, the callers, statuses and names as long as
// they are few, ids as ranges where they count and else as a Bloom filter; CRC-32C.
//
// # Writing
//
// One goroutine writes. It takes what waits in the buffer, deletes old segments if the
// growth needs room, packs, commits (bbolt: data, sync, meta page, sync), publishes the
// segment's new extent and only then forgets the records. A query first pins what waits
// in memory and then looks at the files; records that are in both have numbers by which
// those in the files are passed over. A segment is closed when it is too large or too
// old. After a restart the last segment is continued, if it is small, in a copy that
// takes its place.
//
// # Damage
//
// bbolt panics on damaged pages, in one place in a goroutine of its own where nobody can
// recover, and its memory map kills the process when the file is cut short or the disk
// cannot read. A marker beside a segment would bound that to one crash for each damaged
// file. This package does without the crash: bbolt only ever writes files that it has
// itself made in this run, and everything is read by pages.go, with pread and checked
// bounds; blocks and summaries carry checksums. While writing, faults of the map are
// turned into panics and these into errors; the segment is then abandoned and the next
// one begun. If bbolt's locks were held in such a panic, its file stays open; after eight
// of these the log stops writing until the daemon is restarted.
//
// A segment in which anything is damaged is copied, as far as it can be read, to a new
// one in its place, and put aside with a note of the reason; so is a file that is no
// segment, cannot be read for lack of permission, or belongs to another user. What was
// put aside is never opened again. It counts for MaxSize and MaxAge, until somebody
// deletes it: the daemon looks every minute, and with each change of the limits. A copy
// that cannot be written leaves the original where it is. Locks that others hold on
// segments do not matter.
//
// The package does not look at what a record says, and knows nothing of the daemon.
package journal
