package proxy

import (
	"maps"
	"sync"
	"sync/atomic"

	"github.com/VictoriaMetrics/metrics"

	"github.com/mtlsproxy/mtlsproxy/journal"
	"github.com/mtlsproxy/mtlsproxy/tlsclient"
)

// Meter counts the exchanges of one route. It may be read at any time.
type Meter struct {
	Duration *metrics.PrometheusHistogram // in seconds, of all but tunnels

	inFlight atomic.Int64
	codes    [6]atomic.Uint64 // by the first digit of the status; 0: nothing was answered
	bytesIn  atomic.Uint64
	bytesOut atomic.Uint64

	mu     sync.Mutex
	errors map[Failure]uint64
}

// Failure is what went wrong with an exchange, and whose fault it was.
type Failure struct{ Class, Fault string }

// Counts are what a meter has counted since it was made.
type Counts struct {
	InFlight          int
	Codes             [6]uint64 // by the first digit of the status; 0: nothing was answered
	BytesIn, BytesOut uint64    // of clients
	Errors            map[Failure]uint64
}

// Counts returns what has been counted so far.
func (m *Meter) Counts() Counts {
	c := Counts{InFlight: int(m.inFlight.Load()), BytesIn: m.bytesIn.Load(), BytesOut: m.bytesOut.Load()}
	for i := range m.codes {
		c.Codes[i] = m.codes[i].Load()
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	c.Errors = maps.Clone(m.errors)
	return c
}

// Requests returns how many exchanges have ended.
func (c *Counts) Requests() (n uint64) {
	for _, of := range c.Codes {
		n += of
	}
	return n
}

// Failed returns how many exchanges the daemon answered itself or cut short.
func (c *Counts) Failed() (n uint64) {
	for _, of := range c.Errors {
		n += of
	}
	return n
}

// count takes an exchange that has ended.
func (m *Meter) count(r *journal.Record, class tlsclient.Class, fault tlsclient.Fault) {
	m.inFlight.Add(-1)
	code := r.Status / 100
	if code >= len(m.codes) { // 6xx and above have no meaning, RFC 9110 15
		code = 0
	}
	m.codes[code].Add(1)
	m.bytesIn.Add(uint64(r.BytesIn))
	m.bytesOut.Add(uint64(r.BytesOut))
	if r.Status != 101 {
		m.Duration.Update(r.Total.Seconds())
	}
	if class != "" {
		m.fail(Failure{string(class), fault.String()})
	}
}

func (m *Meter) fail(f Failure) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.errors == nil {
		m.errors = make(map[Failure]uint64)
	}
	m.errors[f]++
}
