package admin

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os/user"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/mtlsproxy/mtlsproxy/service/admin/api"
	"github.com/mtlsproxy/mtlsproxy/service/caller"
)

// changed makes the event of a change: who wanted what, and what came of it. It is made
// at every level: nobody can raise that and then act unseen.
func (c *call) changed(subject string, err error) {
	outcome := "done"
	if err != nil {
		outcome = string(api.Internal)
		if e, ok := errors.AsType[*api.Error](err); ok {
			outcome = string(e.Class)
		}
	}
	who, _ := c.conn.who() // it was permitted, so it is known
	attrs := []any{"action", strings.TrimPrefix(c.route.path, "/v1/"), "subject", subject, "outcome", outcome, "uid", who.UID}
	if name := userName(who.UID); name != "" {
		attrs = append(attrs, "user", name)
	}
	if who.PID != 0 {
		attrs = append(attrs, "pid", who.PID)
	}
	if err != nil {
		attrs = append(attrs, "error", err.Error())
	}
	c.record("a change was asked for over the admin API", append([]any{"event", "admin_action"}, attrs...)...)
}

// record makes an event of level info that is not subject to the level: that is looked
// at by whoever asks whether an event is worth making, and not by the handler itself.
func (c *call) record(message string, attrs ...any) {
	r := slog.NewRecord(time.Now(), slog.LevelInfo, message, 0)
	r.Add(attrs...)
	_ = c.log.Handler().Handle(context.WithoutCancel(c.r.Context()), r) // as with all events, there is nobody to tell
}

// by names the caller to the Backend.
func (c *call) by() string {
	who, _ := c.conn.who() // it was permitted, so it is known
	return fmt.Sprintf("uid %d", who.UID)
}

// userName returns the name of a user, or "" if it has none.
func userName(uid uint32) string {
	u, err := user.LookupId(strconv.FormatUint(uint64(uid), 10))
	if err != nil {
		return ""
	}
	return u.Username
}

// quota lets at most ten warnings a minute through, so that nobody can flood the
// log by asking for what they may not have.
type quota struct {
	mu      sync.Mutex
	since   time.Time
	passed  int
	dropped int
}

const (
	quotaSize = 10
	quotaTime = time.Minute
)

// take reports whether a warning may be logged, and how many were not since the
// last one.
func (q *quota) take() (dropped int, ok bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	now := time.Now()
	if now.Sub(q.since) >= quotaTime {
		q.since, q.passed = now, 0
	}
	if q.passed == quotaSize {
		q.dropped++
		return 0, false
	}
	q.passed++
	dropped, q.dropped = q.dropped, 0
	return dropped, true
}

// denied makes the event of a refusal. err is why the caller is not known.
func (c *call) denied(q *quota, needs permission, who caller.Caller, err error) {
	dropped, ok := q.take()
	if !ok {
		return
	}
	attrs := []any{"path", c.route.path, "needs", string(needs)}
	if err != nil {
		attrs = append(attrs, "error", err.Error())
	} else {
		attrs = append(attrs, "uid", who.UID, "user", userName(who.UID), "pid", who.PID)
	}
	if dropped > 0 {
		attrs = append(attrs, "not_logged", dropped)
	}
	c.log.Warn("an admin request was refused", append([]any{"event", "admin_denied"}, attrs...)...)
}
