package main

import (
	"errors"
	"fmt"
	"net/netip"
	"time"

	"golang.org/x/sys/unix"
)

// poller makes small requests from one thread around epoll: one write and one read per
// request, no goroutines, no allocation, so that it takes as little of the machine as it can.
type poller struct {
	spec    loadSpec
	request []byte
	epoll   int
	timer   int
	conns   map[int32]*pollConn
	idle    []*pollConn
	events  []unix.EpollEvent
	epoch   time.Time

	latency  histogram
	requests int64
	bytes    int64
	errors   int64
	first    string
}

// pollConn is a keep-alive connection with at most one request in flight.
type pollConn struct {
	fd    int
	since time.Duration // when the request in flight was sent, or should have been
	busy  bool
	have  int
	buf   [8 << 10]byte
}

const warmUpTime = 300 * time.Millisecond

func newPoller(spec loadSpec) (*poller, error) {
	p := &poller{
		spec:    spec,
		request: getRequest(spec.Addr, "/small"),
		conns:   make(map[int32]*pollConn, spec.Conns),
		events:  make([]unix.EpollEvent, spec.Conns+1),
		epoch:   time.Now(),
	}
	var err error
	if p.epoll, err = unix.EpollCreate1(unix.EPOLL_CLOEXEC); err != nil {
		return nil, fmt.Errorf("creating epoll: %w", err)
	}
	if p.timer, err = unix.TimerfdCreate(unix.CLOCK_MONOTONIC, unix.TFD_CLOEXEC|unix.TFD_NONBLOCK); err != nil {
		return nil, fmt.Errorf("creating timer: %w", err)
	}
	if err := p.watch(p.timer); err != nil {
		return nil, err
	}
	return p, p.connect()
}

func (p *poller) connect() error {
	addr, err := netip.ParseAddrPort(p.spec.Addr)
	if err != nil {
		return fmt.Errorf("reading address: %w", err)
	}
	for range p.spec.Conns {
		fd, err := dialRaw(addr)
		if err != nil {
			return err
		}
		if err := p.watch(fd); err != nil {
			return err
		}
		c := &pollConn{fd: fd}
		p.conns[int32(fd)] = c
		p.idle = append(p.idle, c)
	}
	return nil
}

func dialRaw(addr netip.AddrPort) (int, error) {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return 0, fmt.Errorf("making socket: %w", err)
	}
	if err := unix.Connect(fd, &unix.SockaddrInet4{Addr: addr.Addr().As4(), Port: int(addr.Port())}); err != nil {
		return 0, fmt.Errorf("connecting to %v: %w", addr, err)
	}
	if err := unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_NODELAY, 1); err != nil {
		return 0, fmt.Errorf("setting TCP_NODELAY: %w", err)
	}
	return fd, unix.SetNonblock(fd, true)
}

func (p *poller) watch(fd int) error {
	event := unix.EpollEvent{Events: unix.EPOLLIN, Fd: int32(fd)}
	if err := unix.EpollCtl(p.epoll, unix.EPOLL_CTL_ADD, fd, &event); err != nil {
		return fmt.Errorf("adding to epoll: %w", err)
	}
	return nil
}

func (p *poller) now() time.Duration { return time.Since(p.epoch) }

// warmUp lets every connection, and the proxy's own ones behind it, come to speed.
func (p *poller) warmUp() (requests int64, err error) {
	if err := p.closed(warmUpTime); err != nil {
		return 0, err
	}
	if p.errors > 0 {
		return 0, fmt.Errorf("%d requests failed; the first: %s", p.errors, p.first)
	}
	requests = p.requests
	p.latency, p.requests, p.bytes = histogram{}, 0, 0
	return requests, nil
}

func (p *poller) run() (loadResult, error) {
	start := p.now()
	drive := p.closed
	if p.spec.Kind == loadOpen {
		drive = p.open
	}
	err := drive(p.spec.Duration)
	return loadResult{
		Requests: p.requests,
		Bytes:    p.bytes,
		Elapsed:  p.now() - start,
		P50:      p.latency.quantile(0.50),
		P99:      p.latency.quantile(0.99),
		P999:     p.latency.quantile(0.999),
		Errors:   p.errors,
		First:    p.first,
	}, err
}

// finish closes the connections.
func (p *poller) finish() error {
	for fd := range p.conns {
		_ = unix.Close(int(fd)) // nothing is lost with it
	}
	return errors.Join(unix.Close(p.timer), unix.Close(p.epoll))
}

// closed keeps every connection busy for d, then waits for the answers under way.
func (p *poller) closed(d time.Duration) error {
	end := p.now() + d
	for {
		now := p.now()
		for now < end && len(p.idle) > 0 {
			p.send(p.pop(), now)
		}
		if now >= end && len(p.idle) == len(p.conns) {
			return nil
		}
		if err := p.wait(end + answerWithin); err != nil {
			return err
		}
	}
}

// answerWithin bounds the wait for the last answers.
const answerWithin = 10 * time.Second

// open sends at a constant rate for d. A request's latency counts from the moment it was
// due, also when it had to wait for a free connection: a proxy that stalls is charged for
// every request that it held up, not only for those it had already accepted.
func (p *poller) open(d time.Duration) error {
	interval := float64(time.Second) / p.spec.Rate
	total := int64(p.spec.Rate * d.Seconds())
	start := p.now()
	due := func(i int64) time.Duration { return start + time.Duration(float64(i)*interval) }
	for next := int64(0); ; {
		now := p.now()
		for next < total && due(next) <= now && len(p.idle) > 0 {
			p.send(p.pop(), due(next))
			next++
		}
		if next == total && len(p.idle) == len(p.conns) {
			return nil
		}
		if next < total && len(p.idle) > 0 {
			if err := p.wakeIn(due(next) - now); err != nil {
				return err
			}
		}
		if err := p.wait(start + d + answerWithin); err != nil {
			return err
		}
	}
}

// wakeIn arms the timer, since the timeout of epoll_wait knows milliseconds only.
func (p *poller) wakeIn(d time.Duration) error {
	spec := unix.ItimerSpec{Value: unix.NsecToTimespec(int64(max(d, 1)))}
	if err := rawTimerSet(p.timer, &spec); err != nil {
		return fmt.Errorf("setting timer: %w", err)
	}
	return nil
}

// wait handles what arrives next, and fails after the deadline.
func (p *poller) wait(deadline time.Duration) error {
	if len(p.conns) == 0 {
		return errors.New("no connection left")
	}
	if p.now() > deadline {
		return fmt.Errorf("not done %v after the end, %d requests are unanswered", answerWithin, len(p.conns)-len(p.idle))
	}
	n, err := rawEpollWait(p.epoll, p.events, 1000)
	if err != nil && err != unix.EINTR {
		return fmt.Errorf("waiting for events: %w", err)
	}
	for _, event := range p.events[:n] {
		if c := p.conns[event.Fd]; c != nil {
			p.receive(c)
		} else {
			var expirations [8]byte
			_, _ = rawRead(p.timer, expirations[:]) // only to silence it
		}
	}
	return nil
}

func (p *poller) pop() *pollConn {
	c := p.idle[len(p.idle)-1]
	p.idle = p.idle[:len(p.idle)-1]
	return c
}

func (p *poller) send(c *pollConn, since time.Duration) {
	c.since, c.busy = since, true
	n, err := rawWrite(c.fd, p.request)
	if err == nil && n < len(p.request) {
		err = errors.New("short write")
	}
	if err != nil {
		p.fail(c, err)
	}
}

// receive reads what is there; a whole response frees the connection.
func (p *poller) receive(c *pollConn) {
	n, err := rawRead(c.fd, c.buf[c.have:])
	if err == unix.EAGAIN {
		return
	}
	if err != nil || n == 0 || !c.busy {
		p.fail(c, fmt.Errorf("connection ended or spoke out of turn: %d bytes, %v", n, err)) //nolint:errorlint // err may be nil
		return
	}
	c.have += n
	h, err := parseHead(c.buf[:c.have])
	if err == nil && h.size > 0 {
		err = h.check()
	}
	whole := h.size + int(h.body)
	switch {
	case err != nil:
		p.fail(c, err)
	case c.have == len(c.buf) || h.size > 0 && c.have > whole:
		p.fail(c, fmt.Errorf("response of %d bytes is not the expected one", c.have))
	case h.size > 0 && c.have == whole:
		p.latency.record(p.now() - c.since)
		p.requests++
		p.bytes += h.body
		c.have, c.busy = 0, false
		p.idle = append(p.idle, c)
	}
}

func (p *poller) fail(c *pollConn, err error) {
	if p.errors == 0 {
		p.first = err.Error()
	}
	p.errors++
	delete(p.conns, int32(c.fd))
	_ = unix.Close(c.fd) // nothing of it is wanted any more
	for i, other := range p.idle {
		if other == c {
			p.idle = append(p.idle[:i], p.idle[i+1:]...)
			break
		}
	}
}
