package sd

import (
	"context"
	"errors"
	"fmt"
	"os"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// recheck is the pause before a message is sent again that the kernel refuses because
// too many descriptors are on their way.
const recheck = 5 * time.Millisecond

// ErrNoStore means that there is no service manager to keep connections.
var ErrNoStore = errors.New("there is no service manager to keep connections")

// Store hands client connections over to the next process through the fd store, and
// returns how many of them, from the first one, it has dealt with: those are with the
// manager, or were closed before. The rest is for the caller to close. The connections
// must be TCP or unix stream sockets between two exchanges, and nobody may read from
// or write to them any more; the caller's own copies may be closed once Store has
// returned. It waits for a busy manager as long as ctx allows.
//
// The manager does not tell whether it keeps what it gets. If the unit has no
// FileDescriptorStoreMax=, the connections end with the caller's copies.
func (n *Notifier) Store(ctx context.Context, clients ...Client) (int, error) {
	switch {
	case len(clients) == 0:
		return 0, nil
	case n == nil:
		return 0, ErrNoStore
	}
	file, done, full := pack(clients)
	if file == nil {
		return 0, fmt.Errorf("handing over connections: %w", full)
	}
	defer func() { _ = file.Close() }() // the manager has its own by then
	if done > 0 {
		err := n.deliver(ctx, "FDSTORE=1\nFDPOLL=0\nFDNAME="+parcel, file)
		if err == nil {
			err = n.Sync(ctx)
		}
		if err != nil {
			return 0, fmt.Errorf("handing over %d connections: %w", len(clients), err)
		}
	}
	if full != nil {
		return done, fmt.Errorf("handing over %d of %d connections: %w", done, len(clients), full)
	}
	return done, nil
}

// Unstore removes everything with these names from the fd store. It waits for a busy
// manager as long as ctx allows.
func (n *Notifier) Unstore(ctx context.Context, names ...string) error {
	if n == nil {
		return nil
	}
	for _, name := range names {
		err := checkName(name)
		if err == nil {
			err = n.deliver(ctx, "FDSTOREREMOVE=1\nFDNAME="+name, nil)
		}
		if err != nil {
			return fmt.Errorf("removing %q from the fd store: %w", name, err)
		}
	}
	return nil
}

// Sync returns when the manager has dealt with everything that was sent before
// (BARRIER=1, systemd 246 and later), or an error when ctx ends. Call it last, so that
// nothing is lost with the process.
func (n *Notifier) Sync(ctx context.Context) error {
	if n == nil {
		return nil
	}
	r, w, err := os.Pipe()
	if err != nil {
		return fmt.Errorf("waiting for the service manager: %w", err)
	}
	defer func() { _ = r.Close() }() // nothing is written to it
	err = n.deliver(ctx, "BARRIER=1", w)
	_ = w.Close() // the copy on its way is the one that matters
	if err != nil {
		return fmt.Errorf("waiting for the service manager: %w", err)
	}
	stop := context.AfterFunc(ctx, func() { _ = r.SetReadDeadline(time.Unix(1, 0)) }) // a pipe has deadlines
	defer stop()
	// The manager closes the other end when it comes to this message.
	if _, err := r.Read(make([]byte, 1)); errors.Is(err, os.ErrDeadlineExceeded) {
		return fmt.Errorf("waiting for the service manager: %w", context.Cause(ctx))
	}
	return nil
}

// deliver sends a datagram, with a descriptor if there is a file, after what waits. It
// lets others send theirs between two tries.
func (n *Notifier) deliver(ctx context.Context, text string, file *os.File) error {
	for {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		err := n.try(ctx, text, file)
		switch {
		case errors.Is(err, unix.ETOOMANYREFS) || errors.Is(err, unix.ENOBUFS):
			// The user's limit of descriptors on their way: they arrive as it reads.
			select {
			case <-time.After(recheck):
			case <-ctx.Done():
			}
		case !errors.Is(err, errBusy):
			return err
		}
	}
}

func (n *Notifier) try(ctx context.Context, text string, file *os.File) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	if err := n.flush(); err != nil {
		return err
	}
	deadline := time.Now().Add(sendTimeout)
	if end, ok := ctx.Deadline(); ok && end.Before(deadline) {
		deadline = end
	}
	if file == nil {
		return send(n.to, text, nil, deadline)
	}
	return held([]syscall.Conn{file}, nil, func(fds []int) error { return send(n.to, text, fds, deadline) })
}

// checkName returns an error unless name is one that systemd takes, fdname_is_valid.
func checkName(name string) error {
	if name == "" || len(name) > 255 {
		return fmt.Errorf("%q is no name for a descriptor: it must have 1 to 255 characters", name)
	}
	for _, c := range []byte(name) {
		if c < ' ' || c > '~' || c == ':' {
			return fmt.Errorf("%q is no name for a descriptor: it must be printable ASCII without colons", name)
		}
	}
	return nil
}
