// Package load is a client that counts what a restart costs: every connection that
// was closed, every request without an answer, every connection refused. It sends
// over plain sockets and never tries again, as libraries for HTTP do behind the back
// of whoever counts.
package load

import (
	"context"
	"sync"
	"time"
)

// Options are the load.
type Options struct {
	// Addresses are shared out among the connections: host:port, or the path of a unix socket.
	Addresses []string
	// Keep is how many connections are kept open between exchanges.
	Keep int
	// Fresh is how many clients make a connection for each exchange.
	Fresh int
	// Every is the time from one exchange of a client to the next.
	Every time.Duration
	// Path is what is requested.
	Path string
	// Patience is how long one connection may take to stand, and one exchange to end.
	Patience time.Duration
}

// Count is what happened. Answered and Failed add up to Sent.
type Count struct {
	Clients  int `json:"clients"`
	Sent     int `json:"sent"`     // requests
	Answered int `json:"answered"` // requests with an answer of status 200
	Failed   int `json:"failed"`   // requests with another answer, or none
	Closed   int `json:"closed"`   // connections that the other side closed
	Refused  int `json:"refused"`  // connections that could not be made
	Stray    int `json:"stray"`    // connections on which something came that was no answer

	Slowest time.Duration  `json:"slowest"` // exchange with an answer, with the making of its connection
	Errors  map[string]int `json:"errors"`  // what was wrong, and how often
}

// Run sends until ctx ends, lets what is under way finish, and returns the count. It
// calls up once every client has had its first answer or failure.
func Run(ctx context.Context, o Options, up func()) Count {
	var (
		all   sync.WaitGroup
		first sync.WaitGroup
		c     = counter{count: Count{Clients: o.Keep + o.Fresh, Errors: map[string]int{}}}
	)
	first.Add(o.Keep + o.Fresh)
	for i := range o.Keep + o.Fresh {
		cl := &client{o: &o, c: &c, address: o.Addresses[i%len(o.Addresses)], keep: i < o.Keep, first: sync.OnceFunc(first.Done)}
		all.Go(func() { cl.run(ctx) })
	}
	first.Wait()
	up()
	all.Wait()
	return c.count
}

// counter is a count that many clients share.
type counter struct {
	mu    sync.Mutex
	count Count
}

func (c *counter) add(f func(*Count)) {
	c.mu.Lock()
	defer c.mu.Unlock()
	f(&c.count)
}

// wrong notes an error; there are few kinds of them, and many of each.
func (c *Count) wrong(what string) {
	const kinds = 20
	if _, known := c.Errors[what]; known || len(c.Errors) < kinds {
		c.Errors[what]++
	}
}
