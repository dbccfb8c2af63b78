package tlstest

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"strings"
	"sync"
)

// A Fault is one way to treat the next request of a connection. It reports whether the connection goes on.
type Fault struct {
	Name   string
	Weight int // how often it is chosen, beside the others
	Do     func(c *Conn) (goOn bool)
}

// Whole is how every body ends that [Answer] and the faults send, unless it is cut short.
const Whole = "the end"

// wholeBody is long enough to be cut anywhere.
var wholeBody = strings.Repeat("0123456789abcdef", 64) + Whole

// The ways to treat a request. All but those that say otherwise read it first, with its body, which counts as
// executing it.
var (
	Answer       = Fault{"answer", 1, func(c *Conn) bool { return c.take() && c.Write(Response(200, wholeBody)) == nil }}
	CloseIdleNow = Fault{"close while idle", 1, func(c *Conn) bool { return c.take() && c.Write(Response(200, wholeBody)) != nil }}
	ResetBefore  = Fault{"reset before the request is read", 1, func(c *Conn) bool {
		if _, err := c.ReadHead(); err == nil { // the client cannot know that nothing came of it
			c.End(Reset)
		}
		return false
	}}
	ResetAfter   = Fault{"reset after the request", 1, func(c *Conn) bool { return c.take() && c.end(Reset) }}
	CloseAfter   = Fault{"close after the request", 1, func(c *Conn) bool { return c.take() && c.end(CloseNotify) }}
	BadGateway   = Fault{"502", 1, func(c *Conn) bool { return c.take() && c.Write(Response(502, Whole)) == nil }}
	StallForEver = Fault{"stall", 1, func(c *Conn) bool { return c.take() && c.end(KeepOpen) }}
	Garbage      = Fault{"garbage", 1, func(c *Conn) bool { return c.take() && c.Write("HTTP/1.1 nonsense\r\n\r\n") != nil }}
	CutHead      = Fault{"cut head", 1, func(c *Conn) bool { return c.cut("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n") }}
	CutBody      = Fault{"cut body", 1, func(c *Conn) bool {
		return c.cut(fmt.Sprintf("HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n", len(wholeBody)), wholeBody[:rand.IntN(len(wholeBody))])
	}}
	CutChunks = Fault{"cut chunks", 1, func(c *Conn) bool {
		n := 1 + rand.IntN(len(wholeBody)-1)
		return c.cut("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", fmt.Sprintf("%x\r\n%s\r\n", n, wholeBody[:n]))
	}}
	// CutUnframed ends without close_notify a body that only the end of the connection delimits.
	CutUnframed = Fault{"cut without framing", 1, func(c *Conn) bool {
		return c.take() && c.Write("HTTP/1.1 200 OK\r\n\r\n", wholeBody[:rand.IntN(len(wholeBody))]) == nil && c.end([]End{TCPClose, Reset}[rand.IntN(2)])
	}}
)

// Often is the fault with another weight.
func (f Fault) Often(weight int) Fault {
	f.Weight = weight
	return f
}

// take reads a request with its body.
func (c *Conn) take() bool {
	r, err := c.ReadRequest()
	if err != nil {
		return false
	}
	_, err = c.ReadBody(r)
	return err == nil
}

// end ends the connection, and reports false.
func (c *Conn) end(end End) bool {
	c.End(end)
	return false
}

// cut sends the pieces and ends the connection in any way.
func (c *Conn) cut(pieces ...string) bool {
	return c.take() && c.Write(pieces...) == nil && c.end([]End{CloseNotify, TCPClose, Reset}[rand.IntN(3)])
}

// A Misbehaviour chooses among faults at random.
type Misbehaviour struct {
	faults []Fault
	total  int

	mu   sync.Mutex
	rand *rand.Rand
	done map[string]int
}

// Misbehave makes one; the same seed chooses alike.
func Misbehave(seed uint64, faults ...Fault) *Misbehaviour {
	m := &Misbehaviour{faults: faults, rand: rand.New(rand.NewPCG(seed, 0)), done: map[string]int{}}
	for _, f := range faults {
		m.total += f.Weight
	}
	return m
}

// Script treats each request of a connection in the way that is chosen for it.
func (m *Misbehaviour) Script() Script {
	return func(c *Conn) {
		for {
			if _, err := c.R.Peek(1); err != nil || !m.next().Do(c) {
				return
			}
		}
	}
}

func (m *Misbehaviour) next() Fault {
	m.mu.Lock()
	defer m.mu.Unlock()
	n := m.rand.IntN(m.total)
	i := 0
	for ; n >= m.faults[i].Weight; i++ {
		n -= m.faults[i].Weight
	}
	m.done[m.faults[i].Name]++
	return m.faults[i]
}

// Done tells how often each fault was chosen so far.
func (m *Misbehaviour) Done() map[string]int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return maps.Clone(m.done)
}
