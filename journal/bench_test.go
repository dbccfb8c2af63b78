package journal

import (
	"syscall"
	"testing"
	"time"
)

// BenchmarkAdd is what a request pays. A writer that costs nothing gives the room back.
func BenchmarkAdd(b *testing.B) {
	buf := newBuffer(8 << 20)
	var r Record
	newTraffic(1).next(&r)
	b.ReportAllocs()
	for n := 0; b.Loop(); n++ {
		if n%20_000 == 0 {
			discard(buf)
		}
		buf.add(&r)
	}
	if buf.dropped > 0 {
		b.Errorf("%d dropped", buf.dropped)
	}
}

func discard(b *buffer) {
	views, _ := b.pin(1 << 62)
	b.unpin()
	b.written(views)
}

// BenchmarkAddParallel adds from every processor, faster than a disk can follow: part of
// it is dropped.
func BenchmarkAddParallel(b *testing.B) {
	l := open(b, Options{Directory: b.TempDir(), flushAfter: flushAfter})
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		var r Record
		newTraffic(1).next(&r)
		for pb.Next() {
			l.Add(&r)
		}
	})
}

func cpu() time.Duration {
	var u syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &u)
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// prepared makes n records beforehand, so that making them is not measured.
func prepared(n int) []Record {
	out := make([]Record, n)
	tr := newTraffic(1)
	for i := range out {
		tr.next(&out[i])
	}
	return out
}

// BenchmarkSustained adds 50,000 records a second for five seconds.
func BenchmarkSustained(b *testing.B) {
	const rate, seconds = 50_000, 5
	for b.Loop() {
		l := open(b, Options{Directory: b.TempDir(), flushAfter: flushAfter})
		records := prepared(rate)
		before := cpu()
		start := time.Now()
		tick := time.NewTicker(time.Millisecond)
		n := 0
		for n < rate*seconds {
			<-tick.C
			for due := int(time.Since(start).Seconds() * rate); n < min(due, rate*seconds); n++ {
				l.Add(&records[n%rate])
			}
		}
		tick.Stop()
		took := time.Since(start)
		if err := l.Close(); err != nil {
			b.Fatal(err)
		}
		s := l.Stats()
		b.ReportMetric(float64((cpu()-before).Nanoseconds())/1e3/float64(n), "cpu-µs/record")
		b.ReportMetric(float64(s.Dropped), "dropped")
		b.ReportMetric(float64(s.Bytes)/float64(s.Written), "bytes/record")
		b.ReportMetric(float64(n)/took.Seconds(), "records/s")
	}
}
