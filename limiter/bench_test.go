package limiter_test

import (
	"encoding/binary"
	"testing"
	"time"

	"github.com/mtlsproxy/mtlsproxy/limiter"
)

// all is every limit that a request passes, and its clock.
type all struct {
	route, caller *limiter.Rate
	gate          *limiter.Gate
	memory        *limiter.Bytes
	connections   *limiter.Counter
	now           time.Time
}

func newAll() *all {
	o := limiter.RateOptions{Requests: 1_000_000, Per: time.Second, Burst: 1000, Keys: 1024}
	return &all{
		route: limiter.NewRate(o, t0), caller: limiter.NewRate(o, t0),
		gate:        limiter.NewGate(limiter.GateOptions{Capacity: 64, PerKey: 32, Queue: 128}),
		memory:      limiter.NewBytes(1 << 30),
		connections: limiter.NewCounter(limiter.CounterOptions{Capacity: 1000, PerKey: 100}),
		now:         t0,
	}
}

// pass is one request of a caller's, and whether it was admitted by all.
func (a *all) pass(uid uint32) bool {
	a.now = a.now.Add(10 * time.Microsecond)
	var key [4]byte
	binary.LittleEndian.PutUint32(key[:], uid)
	ok := a.route.Take(nil, a.now).OK && a.caller.Take(key[:], a.now).OK
	ticket, w, err := a.gate.Enter(uint64(uid))
	ok = ok && w == nil && err == nil && a.memory.Acquire(64<<10)
	a.memory.Release(64 << 10)
	ticket.Leave()
	return ok
}

// connect is a connection's coming and going.
func (a *all) connect(uid uint32) bool {
	s, err := a.connections.Enter()
	ok := err == nil && s.Claim(uint64(uid)) == nil
	s.Leave()
	return ok
}

func TestAdmissionAllocatesNothing(t *testing.T) {
	a := newAll()
	uid := uint32(0)
	if n := testing.AllocsPerRun(1000, func() {
		uid = (uid + 1) % 8
		if !a.pass(uid) || !a.connect(uid) {
			t.Fatal("not admitted")
		}
	}); n != 0 {
		t.Errorf("a request costs %v allocations, want 0", n)
	}
}

func TestRejectionAllocatesNothing(t *testing.T) {
	r := limiter.NewRate(limiter.RateOptions{Requests: 1, Per: time.Hour, Burst: 1, Keys: 1}, t0)
	g := limiter.NewGate(limiter.GateOptions{Capacity: 1})
	ticket, _, _ := g.Enter(1)
	defer ticket.Leave()
	r.Take(nil, t0)
	if n := testing.AllocsPerRun(1000, func() {
		if _, _, err := g.Enter(2); err == nil || r.Take(nil, t0).OK {
			t.Fatal("admitted")
		}
	}); n != 0 {
		t.Errorf("a rejection costs %v allocations, want 0", n)
	}
}

// A wait that ends at once shows what the queue itself needs.
func TestWaitingAllocatesNothing(t *testing.T) {
	g := limiter.NewGate(limiter.GateOptions{Capacity: 1, Queue: 1})
	if n := testing.AllocsPerRun(1000, func() {
		ticket, _, _ := g.Enter(1)
		_, w, _ := g.Enter(2)
		ticket.Leave()
		ticket, err := w.Wait(nil, nil, nil)
		if err != nil {
			t.Fatal(err)
		}
		ticket.Leave()
	}); n != 0 {
		t.Errorf("a wait costs %v allocations, want 0", n)
	}
}

func TestMadeUpKeysAllocateNothing(t *testing.T) {
	r := limiter.NewRate(limiter.RateOptions{Requests: 1, Per: time.Hour, Burst: 1, Keys: 64}, t0)
	var key [8]byte
	n := uint64(0)
	next := func() {
		n++
		binary.LittleEndian.PutUint64(key[:], n)
		r.Take(key[:], t0)
	}
	for range 10_000 {
		next()
	}
	if n := testing.AllocsPerRun(1000, next); n != 0 {
		t.Errorf("a new key in a full table costs %v allocations, want 0", n)
	}
}

func BenchmarkAll(b *testing.B) {
	a := newAll()
	b.ReportAllocs()
	uid := uint32(0)
	for b.Loop() {
		uid++
		a.pass(uid % 8)
	}
}

func BenchmarkRate(b *testing.B) {
	a := newAll()
	b.ReportAllocs()
	for b.Loop() {
		a.route.Take(nil, a.now)
	}
}

func BenchmarkRateNewKey(b *testing.B) {
	r := limiter.NewRate(limiter.RateOptions{Requests: 1, Per: time.Hour, Burst: 1, Keys: 4096}, t0)
	b.ReportAllocs()
	var key [8]byte
	n := uint64(0)
	for b.Loop() {
		n++
		binary.LittleEndian.PutUint64(key[:], n)
		r.Take(key[:], t0)
	}
}

func BenchmarkGate(b *testing.B) {
	a := newAll()
	b.ReportAllocs()
	for b.Loop() {
		t, _, _ := a.gate.Enter(1)
		t.Leave()
	}
}

func BenchmarkGateParallel(b *testing.B) {
	a := newAll()
	b.ReportAllocs()
	b.RunParallel(func(p *testing.PB) {
		for p.Next() {
			t, _, _ := a.gate.Enter(1)
			t.Leave()
		}
	})
}

func BenchmarkGateQueue(b *testing.B) {
	g := limiter.NewGate(limiter.GateOptions{Capacity: 1, Queue: 1})
	b.ReportAllocs()
	for b.Loop() {
		t, _, _ := g.Enter(1)
		_, w, _ := g.Enter(2)
		t.Leave()
		t, _ = w.Wait(nil, nil, nil)
		t.Leave()
	}
}

// The worst to refuse: the queue is full, and of as many keys as can be.
func BenchmarkGateQueueFull(b *testing.B) {
	g := limiter.NewGate(limiter.GateOptions{Capacity: 1, Queue: 128})
	for key := range uint64(129) {
		_, _, _ = g.Enter(key)
	}
	b.ReportAllocs()
	for b.Loop() {
		_, _, _ = g.Enter(1000)
	}
}

func BenchmarkBytes(b *testing.B) {
	a := newAll()
	b.ReportAllocs()
	for b.Loop() {
		a.memory.Acquire(1)
		a.memory.Release(1)
	}
}

func BenchmarkCounter(b *testing.B) {
	a := newAll()
	b.ReportAllocs()
	for b.Loop() {
		a.connect(1)
	}
}
