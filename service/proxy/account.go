package proxy

import (
	"time"

	"github.com/mtlsproxy/mtlsproxy/journal"
	"github.com/mtlsproxy/mtlsproxy/limiter"
	"github.com/mtlsproxy/mtlsproxy/tlsclient"
)

// maxPath is how much of a path is kept for the record: a byte more than the log
// keeps, so that it sees what is cut.
const maxPath = 4<<10 + 1

// account is what is known of an exchange for its record and its route's meter.
type account struct {
	begun time.Time
	table *Table
	taken *Route // nil: none took it
	meter *Meter
	asked bool // the upstream was
	whole bool // it came to its end without a panic

	entered bool // it counts as a user of the table
	ticket  limiter.Ticket
	queued  time.Duration // for the ticket

	listener           string
	method, host, path []byte

	class tlsclient.Class // "": the upstream's answer came through whole
	fault tlsclient.Fault

	record journal.Record
}

// open begins an exchange that no route has taken yet.
func (a *account) open(t *Table, unrouted *Meter) {
	a.begun, a.table, a.entered, a.meter = time.Now(), t, true, unrouted
	a.meter.inFlight.Add(1)
	if t.Records != nil {
		t.Recording.enter()
	}
}

// take says which route has taken the exchange, or with nil that none has. What the
// exchange still needs of its table it has entered by then.
func (e *exchange) take(r *Route) {
	if r != nil {
		r.Users.enter()
		e.meter.inFlight.Add(-1)
		e.taken, e.meter = r, r.Meter
		e.meter.inFlight.Add(1)
		e.x.Take(&r.Name)
	}
	e.entered = false
	e.table.users.leave()
}

// blame says what went wrong, and whose fault it was.
func (a *account) blame(c tlsclient.Class, f tlsclient.Fault) { a.class, a.fault = c, f }

// settle closes the books on the exchange after its last byte was written.
func (e *exchange) settle() {
	e.ticket.Leave() // if it was not answered, and before what may panic
	if !e.whole {
		e.blame(tlsclient.Internal, tlsclient.FaultSelf)
	}
	in, out := e.x.Traffic()
	r := &e.record
	r.Time, r.Total = e.begun, time.Since(e.begun)
	r.Status, r.BytesIn, r.BytesOut = e.x.Status(), in, out
	if e.asked {
		e.describe(r)
	}
	r.Queue += e.queued
	e.meter.count(r, e.class, e.fault)
	if e.table.Records != nil {
		e.fill(r)
		e.table.Records.Add(r)
		e.table.Recording.leave()
	}
	if e.taken != nil {
		e.taken.Users.leave()
	}
	if e.entered { // after a panic
		e.table.users.leave()
	}
	if e.whole {
		e.recycle()
	}
}

// describe adds what the upstream's side knows.
func (e *exchange) describe(r *journal.Record) {
	resp := &e.resp
	r.Endpoint, r.Attempts, r.Reused, r.TLS = resp.Endpoint, resp.Attempts, resp.Reused, resp.TLSVersion
	r.Queue, r.Connect = resp.Queue, resp.Connect
	if g := resp.Generation; g != nil {
		r.Serial, r.Generation = g.Serial(), g.Number
	}
	if !resp.FirstByte.IsZero() {
		r.FirstByte = resp.FirstByte.Sub(e.begun)
		e.taken.FirstByte.Update(r.FirstByte.Seconds())
	}
}

// fill adds what only the log wants.
func (e *exchange) fill(r *journal.Record) {
	r.ID, r.Listener, r.Caller = e.id, e.listener, e.x.Caller()
	r.Method, r.Host, r.Path = e.method, e.host, e.path
	if e.taken != nil {
		r.Route, r.Upstream = e.taken.Name, e.taken.Upstream.Name()
	}
	if e.class != "" {
		r.Class, r.Fault = string(e.class), e.fault.String()
	}
}

// recycle gives the exchange back for another.
func (e *exchange) recycle() {
	e.x, e.id, e.mem = nil, nil, e.mem[:0]
	e.req = tlsclient.Request{}
	e.account = account{}
	e.p.pool.Put(e)
}
