package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// idle opens many connections, makes one request on each, and leaves them open.
type idle struct {
	spec loadSpec

	mu    sync.Mutex
	conns []net.Conn
}

const (
	idleOpeners   = 16
	idlePerSource = 10000 // a source address has about 28,000 ports by default
)

// warmUp lets the proxy make its pools, buffers and threads before memory is read.
func (l *idle) warmUp() (requests int64, err error) {
	p, err := newPoller(loadSpec{Kind: loadClosed, Addr: l.spec.Addr, Conns: 64})
	if err != nil {
		return 0, err
	}
	requests, err = p.warmUp()
	return requests, errors.Join(err, p.finish())
}

func (l *idle) run() (loadResult, error) {
	start := time.Now()
	numbers := make(chan int)
	outcomes := make(chan error, idleOpeners)
	for range idleOpeners {
		go func() { outcomes <- l.openAll(numbers) }()
	}
	for i := range l.spec.Conns {
		numbers <- i
	}
	close(numbers)
	var errs []error
	for range idleOpeners {
		errs = append(errs, <-outcomes)
	}
	return loadResult{Requests: int64(len(l.conns)), Elapsed: time.Since(start)}, errors.Join(errs...)
}

// finish looks whether the connections lived to the end: closed ones cost no memory.
func (l *idle) finish() error {
	closed := 0
	for _, conn := range l.conns {
		open, err := stillOpen(conn)
		if err != nil {
			return err
		}
		if !open {
			closed++
		}
	}
	if closed > 0 {
		return fmt.Errorf("the proxy has closed %d of %d idle connections", closed, len(l.conns))
	}
	return nil
}

func stillOpen(conn net.Conn) (open bool, err error) {
	raw, err := conn.(*net.TCPConn).SyscallConn()
	if err != nil {
		return false, err
	}
	err = raw.Control(func(fd uintptr) {
		var b [1]byte
		_, _, recvErr := unix.Recvfrom(int(fd), b[:], unix.MSG_PEEK|unix.MSG_DONTWAIT)
		open = recvErr == unix.EAGAIN
	})
	return open, err
}

// openAll opens the connections it is given numbers of; after an error it only drains.
func (l *idle) openAll(numbers <-chan int) error {
	buf := make([]byte, 16<<10)
	var first error
	for i := range numbers {
		if first == nil {
			first = l.open(i, buf)
		}
	}
	return first
}

func (l *idle) open(i int, buf []byte) error {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	dialer := net.Dialer{
		LocalAddr: net.TCPAddrFromAddrPort(netip.AddrPortFrom(idleSource(i), 0)),
		Control:   choosePortLate,
		KeepAlive: -1,
	}
	conn, err := dialer.DialContext(ctx, "tcp4", l.spec.Addr)
	if err != nil {
		return fmt.Errorf("connecting (%d open): %w", i, err)
	}
	l.mu.Lock()
	l.conns = append(l.conns, conn)
	l.mu.Unlock()
	if err := conn.SetDeadline(time.Now().Add(10 * time.Second)); err != nil {
		return err
	}
	if _, err := conn.Write(getRequest(l.spec.Addr, "/small")); err != nil {
		return fmt.Errorf("requesting: %w", err)
	}
	_, err = readResponse(conn, buf)
	return err
}

// idleSource spreads the connections over 127.0.0.2, 127.0.0.3, … so that ports do not run out.
func idleSource(i int) netip.Addr {
	return netip.AddrFrom4([4]byte{127, 0, 0, byte(2 + i/idlePerSource)})
}

// choosePortLate leaves the choice of the port to connect(2), where a port taken by a
// connection to elsewhere still counts as free.
func choosePortLate(_, _ string, raw syscall.RawConn) error {
	var setErr error
	err := raw.Control(func(fd uintptr) {
		setErr = unix.SetsockoptInt(int(fd), unix.IPPROTO_IP, unix.IP_BIND_ADDRESS_NO_PORT, 1)
	})
	return errors.Join(err, setErr)
}
