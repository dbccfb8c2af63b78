package journal

import (
	"errors"
	"fmt"
	"net"
	"os"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

const (
	sendPatience = time.Second // how long one send waits for room in journald's queue
	dialPause    = time.Second // between two attempts to reach a journald that is gone
)

// A journaldSocket is a connection to journald's socket. It waits for room in the
// runtime's poller, not in a system call, so that it can be interrupted and takes no
// thread.
type journaldSocket struct {
	path   string
	conn   atomic.Pointer[net.UnixConn] // nil: journald was gone
	ending chan struct{}
}

func dialJournald(path string) (*journaldSocket, error) {
	s := &journaldSocket{path: path, ending: make(chan struct{})}
	if err := s.dial(); err != nil {
		return nil, err
	}
	return s, nil
}

func (s *journaldSocket) dial() error {
	c, err := net.DialUnix("unixgram", nil, &net.UnixAddr{Name: s.path, Net: "unixgram"})
	if err != nil {
		return fmt.Errorf("connecting to journald: %w", err)
	}
	s.conn.Store(c)
	return nil
}

// send implements journaldSender.
func (s *journaldSocket) send(data []byte) error {
	if s.conn.Load() == nil && s.dial() != nil {
		s.pause()
		return errBusy
	}
	err := s.sendmsg(data, nil)
	if errors.Is(err, unix.EMSGSIZE) || errors.Is(err, unix.ENOBUFS) {
		err = s.sendFile(data)
	}
	switch {
	case errors.Is(err, os.ErrDeadlineExceeded):
		return errBusy
	case errors.Is(err, unix.ECONNREFUSED), errors.Is(err, unix.ENOTCONN), errors.Is(err, unix.ECONNRESET), errors.Is(err, unix.EPIPE):
		// The socket is gone; there may be another one at the same place.
		_ = s.conn.Swap(nil).Close() // it is of no use any more
		if s.dial() != nil {
			s.pause()
		}
		return errBusy
	}
	return err
}

func (s *journaldSocket) pause() {
	select {
	case <-time.After(dialPause):
	case <-s.ending:
	}
}

// sendmsg sends one datagram. net's own calls refuse control messages on a connected
// datagram socket.
func (s *journaldSocket) sendmsg(data, control []byte) error {
	c := s.conn.Load()
	if err := c.SetWriteDeadline(time.Now().Add(sendPatience)); err != nil {
		return err
	}
	select {
	case <-s.ending: // the deadline may have come after interrupt's
		return errBusy
	default:
	}
	raw, err := c.SyscallConn()
	if err != nil {
		return err
	}
	var fault error
	err = raw.Write(func(fd uintptr) bool {
		fault = unix.Sendmsg(int(fd), data, control, nil, unix.MSG_NOSIGNAL|unix.MSG_DONTWAIT)
		return !errors.Is(fault, unix.EAGAIN)
	})
	if err != nil {
		return err
	}
	return fault
}

// sendFile sends an entry that is too large for a datagram: in a file in memory, sealed
// so that journald may map it.
func (s *journaldSocket) sendFile(data []byte) error {
	// Not MFD_NOEXEC_SEAL: its additional seal makes systemd 252 refuse the file.
	fd, err := unix.MemfdCreate("mtlsproxy-event", unix.MFD_CLOEXEC|unix.MFD_ALLOW_SEALING)
	if err != nil {
		return fmt.Errorf("making a file for a large event: %w", err)
	}
	f := os.NewFile(uintptr(fd), "event")
	defer f.Close() //nolint:errcheck // journald has its own descriptor of it, or needs none
	if _, err := f.Write(data); err != nil {
		return fmt.Errorf("writing a large event: %w", err)
	}
	if _, err := unix.FcntlInt(uintptr(fd), unix.F_ADD_SEALS, unix.F_SEAL_SHRINK|unix.F_SEAL_GROW|unix.F_SEAL_WRITE|unix.F_SEAL_SEAL); err != nil {
		return fmt.Errorf("sealing a large event: %w", err)
	}
	return s.sendmsg(nil, unix.UnixRights(fd))
}

// interrupt implements journaldSender.
func (s *journaldSocket) interrupt() {
	close(s.ending)
	if c := s.conn.Load(); c != nil {
		_ = c.SetWriteDeadline(time.Now()) // fails only when it is closed
	}
}

// close implements journaldSender.
func (s *journaldSocket) close() {
	if c := s.conn.Load(); c != nil {
		_ = c.Close() // nothing is buffered in it
	}
}
