package sd

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
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
// returns those that it could not: they are for the caller to serve or to close. All
// others are with the manager, or were closed before. The connections must be TCP or
// unix stream sockets between two exchanges, and nobody may read from or write to them
// any more; the caller's own copies of what is not returned may be closed then. It waits
// for a busy manager as long as ctx allows.
//
// An error that is EMFILE or ENFILE says that there was no descriptor left to do it
// with: closing a few connections makes room for all others.
//
// The manager does not tell whether it keeps what it gets. If the unit has no
// FileDescriptorStoreMax=, the connections end with the caller's copies.
func (n *Notifier) Store(ctx context.Context, clients ...Client) (left []Client, err error) {
	switch {
	case len(clients) == 0:
		return nil, nil
	case n == nil:
		return clients, ErrNoStore
	}
	// A message is of one listener. Taken as they come, those of two would fill the
	// queue with messages of one descriptor each.
	left = slices.Clone(clients)
	slices.SortStableFunc(left, func(a, b Client) int { return strings.Compare(a.Listener, b.Listener) })
	for len(left) > 0 {
		stored, err := n.storeParcel(ctx, left)
		left = left[stored:]
		if err != nil && (!errors.Is(err, errParcelFull) || stored == 0) {
			return left, fmt.Errorf("handing over %d of %d connections: %w", len(clients)-len(left), len(clients), err)
		}
	}
	return nil, nil
}

// storeParcel hands over as many clients, from the first one, as one parcel takes, and
// returns how many.
func (n *Notifier) storeParcel(ctx context.Context, clients []Client) (int, error) {
	file, done, full := pack(clients)
	if file == nil {
		return 0, full
	}
	defer func() { _ = file.Close() }() // the manager has its own by then
	if done == 0 {
		return 0, full
	}
	if err := n.deliver(ctx, "FDSTORE=1\nFDPOLL=0\nFDNAME="+parcel, file); err != nil {
		return 0, err
	}
	if err := n.Sync(ctx); err != nil {
		return 0, err
	}
	return done, full
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
