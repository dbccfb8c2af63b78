package proxy

import (
	"log/slog"
	"os/user"
	"strconv"
	"sync"
	"time"

	"github.com/mtlsproxy/mtlsproxy/service/front"
)

// denial is who was denied what.
type denial struct {
	uid             int64 // or front.NoCaller
	route, listener string
}

// denials makes events of them: one a minute of each, so that nobody who keeps asking
// can fill the journal, or hide others in it.
type denials struct {
	mu   sync.Mutex
	told map[denial]*telling
	rest telling // of those for which the table has no room
}

// telling is when a denial was told of last, and how often it has happened since.
type telling struct {
	last    time.Time
	leftOut int
}

const (
	denialTime  = time.Minute
	denialTable = 256
)

// take reports whether to tell of a denial, and how many were left out before it.
func (d *denials) take(what denial, now time.Time) (leftOut int, ok bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	t := d.told[what]
	if t == nil && len(d.told) >= denialTable {
		d.sweep(now)
	}
	switch {
	case t != nil:
	case len(d.told) < denialTable:
		if d.told == nil {
			d.told = make(map[denial]*telling)
		}
		t = new(telling)
		d.told[what] = t
	default:
		t = &d.rest
	}
	if !t.last.IsZero() && now.Sub(t.last) < denialTime {
		t.leftOut++
		return 0, false
	}
	leftOut = t.leftOut
	t.last, t.leftOut = now, 0
	return leftOut, true
}

// sweep forgets what was told long ago. What was left out of it since is told with the
// rest.
func (d *denials) sweep(now time.Time) {
	for what, t := range d.told {
		if now.Sub(t.last) >= denialTime {
			d.rest.leftOut += t.leftOut
			delete(d.told, what)
		}
	}
}

// tell makes the event of a denial.
func (d *denials) tell(log *slog.Logger, what *denial, cause error, now time.Time) {
	leftOut, ok := d.take(*what, now)
	if !ok {
		return
	}
	attrs := []any{"event", "caller_denied", "uid", "unknown", "route", what.route, "listener", what.listener, "error", cause}
	if what.uid != front.NoCaller {
		attrs[3] = what.uid
		if u, err := user.LookupId(strconv.FormatInt(what.uid, 10)); err == nil {
			attrs = append(attrs, "user", u.Username)
		}
	}
	if leftOut > 0 {
		attrs = append(attrs, "not_logged", leftOut)
	}
	log.Warn("a caller was denied a route", attrs...)
}
