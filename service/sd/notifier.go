package sd

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/coreos/go-systemd/v22/daemon"
)

const (
	sendTimeout = 250 * time.Millisecond // how long a notification may hold up whoever makes it
	firstRetry  = time.Second            // first pause before what could not be sent is tried again; doubled …
	lastRetry   = 30 * time.Second       // … up to this
)

// Notifier tells the service manager how the process fares, sd_notify(3). All methods
// may be called from any goroutine, and on a nil *Notifier, which has nobody to tell.
// None but Store and Sync takes longer than a quarter of a second. What could not be
// sent is sent later; Sync waits for it.
type Notifier struct {
	to  *net.UnixAddr
	log *slog.Logger

	mu      sync.Mutex
	stage   stage
	queue   []string // assignments that tell of stages, not yet sent
	status  string   // what the daemon says of itself
	trouble string   // what is shown in its stead, if anything
	told    string   // the status that the manager has
	failing bool     // the last datagram could not be sent
	retry   *time.Timer
	pause   time.Duration
}

// stage is what the service manager knows of the process.
type stage int

const (
	starting stage = iota
	ready
	reloading
	stopping
)

// New returns a Notifier for the socket that $NOTIFY_SOCKET names, nil if it names
// none. An error says why there is none all the same; that is nothing to end for: nil
// is a Notifier with nobody to tell.
func New(getenv func(string) string, log *slog.Logger) (*Notifier, error) {
	address := getenv("NOTIFY_SOCKET")
	switch {
	case address == "":
		return nil, nil
	case strings.HasPrefix(address, "vsock:"):
		return nil, fmt.Errorf("NOTIFY_SOCKET=%q is a vsock address, of a service manager outside of this virtual machine; that is not supported, and it is told nothing", address)
	case address[0] != '/' && address[0] != '@':
		return nil, fmt.Errorf("NOTIFY_SOCKET=%q is neither a path nor an abstract socket; the service manager is told nothing", address)
	}
	return &Notifier{to: &net.UnixAddr{Name: address, Net: "unixgram"}, log: log}, nil
}

// Ready tells that the listeners are served, or that a reload is over, however it
// ended. After Stopping it tells nothing.
func (n *Notifier) Ready(status string) {
	n.enter(status, ready, daemon.SdNotifyReady)
}

// Reloading tells that the configuration is read anew; Ready ends it. Before the
// first Ready it tells the status only. A rotation of certificates is not a reload:
// other units follow one.
func (n *Notifier) Reloading(status string) {
	// A manager that waits for the reload it has asked for knows by the time, which
	// must be in the same datagram, that this is the one (Type=notify-reload).
	n.enter(status, reloading, daemon.SdNotifyReloading+"\n"+strings.TrimSpace(daemon.SdNotifyMonotonicUsec()))
}

// Stopping tells that the process will end. Tell it first, before the drain.
func (n *Notifier) Stopping(status string) {
	n.enter(status, stopping, daemon.SdNotifyStopping)
}

func (n *Notifier) enter(status string, next stage, assignment string) {
	if n == nil {
		return
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.stage == stopping && next != stopping {
		return
	}
	n.status = oneLine(status)
	if next != n.stage && (next != reloading || n.stage == ready) {
		n.stage = next
		n.push(next, assignment)
	}
	_ = n.flush() // what is left is tried again
}

// push queues an assignment. Of reloads that nobody could be told of, the last one
// is enough, which keeps the queue short.
func (n *Notifier) push(next stage, assignment string) {
	if next == reloading {
		if i := slices.IndexFunc(n.queue, func(q string) bool { return strings.HasPrefix(q, daemon.SdNotifyReloading) }); i >= 0 {
			n.queue = n.queue[:i]
		}
	}
	n.queue = append(n.queue, assignment)
}

// Status tells in one line how the daemon fares; systemctl status shows it. A text
// that is known already is not sent.
func (n *Notifier) Status(text string) {
	if n == nil {
		return
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	n.status = oneLine(text)
	_ = n.flush() // what is left is tried again
}

// Trouble shows a text in place of the status until it is called with "".
func (n *Notifier) Trouble(text string) {
	if n == nil {
		return
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	n.trouble = oneLine(text)
	_ = n.flush() // what is left is tried again
}

// Failed tells why the process is about to end: an error number, 0 if there is none
// that fits, and a text.
func (n *Notifier) Failed(errno syscall.Errno, status string) {
	if n == nil {
		return
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	n.status = oneLine(status)
	if errno != 0 {
		n.queue = append(n.queue, "ERRNO="+strconv.Itoa(int(errno)))
	}
	_ = n.flush() // what is left is tried again
}

// Extend asks for d from now on for what is under way: the start or the stop. The
// first call must come before the unit's own time is over.
func (n *Notifier) Extend(d time.Duration) {
	if n == nil || d <= 0 {
		return
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	n.now("EXTEND_TIMEOUT_USEC="+strconv.FormatInt(d.Microseconds(), 10), n.told)
}

// Watchdog tells that the process is well. Once it is stopping the manager does not
// ask for that any more.
func (n *Notifier) Watchdog() {
	if n == nil {
		return
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.stage != stopping {
		n.now(daemon.SdNotifyWatchdog, n.told)
	}
}

// WatchdogTrigger asks the manager to act as if the watchdog had not been fed: to
// kill the process with SIGABRT and to start it anew. The journal quotes the status,
// which is shown until Trouble is called.
func (n *Notifier) WatchdogTrigger(status string) {
	if n == nil {
		return
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.stage == stopping {
		return
	}
	n.trouble = oneLine(status)
	// In the same datagram: the manager quotes it before it sends the signal.
	n.now("WATCHDOG=trigger\nSTATUS="+n.trouble, n.trouble)
}

// now sends what is of no use later, after the stages that wait. told is the status
// that the manager has after it.
func (n *Notifier) now(text, told string) {
	if n.flushStages() != nil {
		return // the manager reads nothing, or nothing that is sent
	}
	err := send(n.to, text, nil, time.Now().Add(sendTimeout))
	n.report(err)
	if err == nil {
		n.told = told
	}
}

func (n *Notifier) shown() string {
	if n.trouble != "" {
		return n.trouble
	}
	return n.status
}

// flush sends what waits: the stages in order, and the status with the last of them.
func (n *Notifier) flush() error {
	if err := n.flushStages(); err != nil {
		return err
	}
	status := n.shown()
	if status == n.told {
		return nil
	}
	return n.sent(send(n.to, "STATUS="+status, nil, time.Now().Add(sendTimeout)), status)
}

func (n *Notifier) flushStages() error {
	for len(n.queue) > 0 {
		text, status := n.queue[0], n.told
		if s := n.shown(); len(n.queue) == 1 && s != n.told {
			text += "\nSTATUS=" + s
			status = s
		}
		if err := n.sent(send(n.to, text, nil, time.Now().Add(sendTimeout)), status); err != nil {
			return err
		}
		n.queue = n.queue[1:]
	}
	return nil
}

// sent notes what has become of a datagram with a status.
func (n *Notifier) sent(err error, status string) error {
	n.report(err)
	if err == nil {
		n.told = status
		n.pause = 0
		return nil
	}
	if n.retry == nil {
		n.pause = min(max(2*n.pause, firstRetry), lastRetry)
		n.retry = time.AfterFunc(n.pause, n.again)
	}
	return err
}

func (n *Notifier) again() {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.retry = nil
	_ = n.flush() // it has its own next try
}

// report logs when notifications begin to fail, and when they arrive again.
func (n *Notifier) report(err error) {
	switch {
	case err != nil && !n.failing:
		n.log.Warn("the service manager cannot be told; trying again", "event", "notify_failing", "socket", n.to.Name, "error", err)
	case err == nil && n.failing:
		n.log.Info("the service manager can be told again", "event", "notify_healed", "socket", n.to.Name)
	}
	n.failing = err != nil
}

// maxStatus keeps a datagram within the 4096 bytes that systemd reads.
const maxStatus = 2048

// oneLine makes text fit for an assignment, which ends with its line and must be
// valid UTF-8, and for a terminal, which would obey control characters.
func oneLine(text string) string {
	text = strings.Map(func(r rune) rune {
		if r < ' ' || r >= 0x7f && r < 0xa0 || r == '\u2028' || r == '\u2029' {
			return ' '
		}
		return r
	}, strings.ToValidUTF8(text, "?"))
	if len(text) > maxStatus {
		text = strings.ToValidUTF8(text[:maxStatus-len("…")], "") + "…"
	}
	return strings.TrimSpace(text)
}

// errBusy means that the manager has not taken a datagram in time.
var errBusy = errors.New("it does not read its socket")
