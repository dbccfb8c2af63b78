package sd

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"slices"
	"strconv"
	"strings"

	"github.com/coreos/go-systemd/v22/activation"
)

// Names of descriptors that mean something by themselves.
const (
	// HTTP is the listener that a socket without a name becomes.
	HTTP = "http"

	// Admin is the name of the administration socket, which must be a unix socket:
	// callers are known by their credentials there.
	Admin = "admin"

	// parcel is the name of a socket with client connections in its queue.
	parcel = "clients"
)

// firstFD is the first descriptor that is passed, SD_LISTEN_FDS_START.
const firstFD = 3

// Passed is what the service manager has passed to the process. It is not safe for
// concurrent use.
type Passed struct {
	Listeners []Listener
	Clients   []Client

	// Rejected are descriptors that are of no use. They are closed already.
	Rejected []Rejected

	// Note says why descriptors that the environment speaks of were not taken; ""
	// if there is nothing to say.
	Note string

	parcels int
}

// Listener is a listening socket, non-blocking and close-on-exec. Closing it leaves
// the socket of the manager, its backlog and its path as they are.
type Listener struct {
	Name string
	net.Listener
}

// Client is a client connection that the process before this one has left between
// two exchanges.
type Client struct {
	Listener string // by which it came
	net.Conn
}

// Rejected is a descriptor that was closed.
type Rejected struct {
	Name string // as it was passed; "" if it had none
	What string // what it was, with its address
	Why  string // it is of no use, and what to do

	// Gone means that it was a client connection whose client has left since. That
	// is nothing to warn of.
	Gone bool
}

// Take takes the passed descriptors and removes the variables that announce them
// from the environment. Call it once, before anything else opens files. Names and
// order are as in sd_listen_fds_with_names(3).
//
// Sockets without a name, as systemd-socket-activate(1) passes them if it is not
// given --fdname, are told by their family: TCP is http, unix is admin.
//
// From then on the clients live and die with this process. One that finds that it
// cannot serve them calls [Passed.Return] before it ends.
func Take() *Passed {
	p := &Passed{Note: overlooked(os.Getenv)}
	for i, f := range activation.Files(true) {
		name := f.Name()
		if name == "LISTEN_FD_"+strconv.Itoa(firstFD+i) {
			name = "" // what the library calls one without a name
		}
		p.add(name, f)
	}
	_ = os.Unsetenv("LISTEN_PIDFDID") // fails only for names that cannot be
	return p
}

// overlooked explains why nothing is taken although there is something.
func overlooked(getenv func(string) string) string {
	n, pid := getenv("LISTEN_FDS"), getenv("LISTEN_PID")
	switch count, err := strconv.Atoi(n); {
	case n == "" || n == "0":
		return ""
	case err != nil || count < 0:
		return fmt.Sprintf("LISTEN_FDS=%q is not a number of descriptors", n)
	case pid != strconv.Itoa(os.Getpid()):
		return fmt.Sprintf("LISTEN_PID=%q is not this process (%d): if a shell starts it, it must do so with exec", pid, os.Getpid())
	}
	return ""
}

// add sorts one descriptor in, and closes f, of which what is kept is a copy.
func (p *Passed) add(name string, f *os.File) {
	defer func() { _ = f.Close() }() // nothing was written to it
	d := look(f)
	why := d.listenerVerdict(name)
	switch {
	case name == parcel && d.kind == unixStream && !d.listening:
		p.parcels++
		why = p.unpack(f)
	case why == "":
		var l net.Listener
		var err error
		if l, err = net.FileListener(f); err == nil {
			p.Listeners = append(p.Listeners, Listener{Name: d.role(name), Listener: l})
			return
		}
		why = fmt.Sprintf("it cannot be listened on: %v", err)
	}
	if why != "" {
		p.Rejected = append(p.Rejected, Rejected{Name: name, What: d.words(), Why: why})
	}
}

// addClient is add for a connection from a parcel.
func (p *Passed) addClient(listener string, f *os.File) {
	defer func() { _ = f.Close() }() // nothing was written to it
	d := look(f)
	why := d.clientVerdict()
	if why == "" {
		c, err := net.FileConn(f)
		if err == nil {
			p.Clients = append(p.Clients, Client{Listener: listener, Conn: c})
			return
		}
		why = fmt.Sprintf("it cannot be used: %v", err)
	}
	p.Rejected = append(p.Rejected, Rejected{Name: parcel, What: d.words(), Why: why, Gone: d.gone})
}

// Names returns the names of the listeners, each once, sorted.
func (p *Passed) Names() []string {
	var names []string
	for _, l := range p.Listeners {
		names = append(names, l.Name)
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// Keep closes the listeners that have none of the names, and adds them to Rejected. The
// clients stay: until it is certain that this process serves, the next one may want them.
func (p *Passed) Keep(names ...string) {
	p.Listeners = slices.DeleteFunc(p.Listeners, func(l Listener) bool {
		if slices.Contains(names, l.Name) {
			return false
		}
		_ = l.Close() // the manager keeps its own
		p.Rejected = append(p.Rejected, Rejected{
			Name: l.Name, What: "listening socket " + Address(l.Addr()),
			Why: fmt.Sprintf("no listener has this name; the names are %s: set FileDescriptorName= in its socket unit to one of them", list(names)),
		})
		return true
	})
}

// Return gives the clients back to the fd store, for the next process to serve, and
// closes all that is left. It is for those who will not serve after all. Without a
// manager it is Close.
func (p *Passed) Return(ctx context.Context, n *Notifier) error {
	defer p.Close()
	if n == nil || len(p.Clients) == 0 {
		return nil
	}
	// The parcel they came in is empty. Left there, one would be added with each start.
	err := n.Unstore(ctx, parcel)
	_, err2 := n.Store(ctx, p.Clients...)
	return errors.Join(err, err2)
}

// Close closes all that is left. It is for those who will not serve after all.
func (p *Passed) Close() {
	for _, l := range p.Listeners {
		_ = l.Close() // the manager keeps its own
	}
	for _, c := range p.Clients {
		_ = c.Close() // between two exchanges: nothing is lost
	}
	p.Listeners, p.Clients = nil, nil
}

// Stored returns the names, each once, under which the fd store may still hold
// copies of what was passed. Hand them to [Notifier.Unstore].
func (p *Passed) Stored() []string {
	var names []string
	if p.parcels > 0 {
		names = append(names, parcel)
	}
	for _, r := range p.Rejected {
		if checkName(r.Name) == nil {
			names = append(names, r.Name)
		}
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// list writes names for a message.
func list(names []string) string {
	if len(names) == 0 {
		return "none"
	}
	return strings.Join(names, ", ")
}
