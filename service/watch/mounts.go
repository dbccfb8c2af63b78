package watch

import (
	"os"
	"syscall"
)

// mounts tells when something was mounted or unmounted, of which inotify says nothing:
// a directory that is mounted over lives on where nobody sees it.
type mounts struct {
	table   *os.File
	changed chan struct{} // capacity 1
	ended   chan struct{}
}

// openMounts returns nil if this cannot be had, as without /proc: then it is left to the
// poll.
func openMounts() *mounts {
	// Whoever polls the table of mounts is woken at each change, proc_pid_mountinfo(5). It
	// goes to the runtime's own epoll, so no thread waits for it.
	fd, err := syscall.Open("/proc/self/mountinfo", syscall.O_RDONLY|syscall.O_NONBLOCK|syscall.O_CLOEXEC, 0)
	if err != nil {
		return nil
	}
	m := &mounts{table: os.NewFile(uintptr(fd), "mountinfo"), changed: make(chan struct{}, 1), ended: make(chan struct{})}
	go m.follow()
	return m
}

// follow runs until close, or until it turns out that the table cannot be polled.
func (m *mounts) follow() {
	defer close(m.ended)
	raw, err := m.table.SyscallConn()
	for err == nil {
		woken := false
		// The table can always be read. So it is not read: what counts is to be woken.
		err = raw.Read(func(uintptr) bool {
			before := woken
			woken = true
			return before
		})
		if err != nil {
			return
		}
		select {
		case m.changed <- struct{}{}:
		default: // the one before was not looked at yet
		}
	}
}

// events returns what is received from at each change, and at the start perhaps.
func (m *mounts) events() <-chan struct{} {
	if m == nil {
		return nil
	}
	return m.changed
}

func (m *mounts) close() {
	if m == nil {
		return
	}
	_ = m.table.Close() // it was never written to
	<-m.ended
}
