package main

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

// The poller's calls bypass the scheduler of the Go runtime. Around an ordinary blocking
// call it hands the processor on, and its monitor thread wakes every few microseconds to see
// to that: measurable noise on a small machine. In the generator there is nobody else to run.

func rawEpollWait(epoll int, events []unix.EpollEvent, timeoutMillis int) (int, error) {
	n, _, errno := unix.RawSyscall6(unix.SYS_EPOLL_PWAIT, uintptr(epoll),
		uintptr(unsafe.Pointer(unsafe.SliceData(events))), uintptr(len(events)), uintptr(timeoutMillis), 0, 0)
	return result(n, errno)
}

func rawRead(fd int, b []byte) (int, error) {
	n, _, errno := unix.RawSyscall(unix.SYS_READ, uintptr(fd), uintptr(unsafe.Pointer(unsafe.SliceData(b))), uintptr(len(b)))
	return result(n, errno)
}

func rawWrite(fd int, b []byte) (int, error) {
	n, _, errno := unix.RawSyscall(unix.SYS_WRITE, uintptr(fd), uintptr(unsafe.Pointer(unsafe.SliceData(b))), uintptr(len(b)))
	return result(n, errno)
}

func rawTimerSet(timer int, spec *unix.ItimerSpec) error {
	n, _, errno := unix.RawSyscall6(unix.SYS_TIMERFD_SETTIME, uintptr(timer), 0, uintptr(unsafe.Pointer(spec)), 0, 0, 0)
	_, err := result(n, errno)
	return err
}

func result(n uintptr, errno unix.Errno) (int, error) {
	if errno != 0 {
		return 0, errno
	}
	return int(n), nil
}
