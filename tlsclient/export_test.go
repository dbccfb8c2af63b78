package tlsclient

import "time"

// Tidy is what is done once a second, at another time than now.
func (u *Upstream) Tidy(now time.Time) { u.tidy(now) }

// StopTidying ends what is done once a second.
func (u *Upstream) StopTidying() { u.cancel() }

// ForgetRejected makes the last call of Options.Rejected one of long ago.
func (u *Upstream) ForgetRejected() { u.told.Add(-int64(refusalPause)) }

// Overstay is what is done at the retire deadlines of all older generations.
func (u *Upstream) Overstay() {
	var out leaving
	u.mu.Lock()
	for _, p := range u.old {
		out.busy = append(out.busy, p.overstayed(0)...)
	}
	u.mu.Unlock()
	out.end()
}

// AwaitWaiters returns once n exchanges wait for a connection.
func (u *Upstream) AwaitWaiters(n int) {
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for range tick.C {
		u.mu.Lock()
		waiting := len(u.waiters)
		u.mu.Unlock()
		if waiting >= n {
			return
		}
	}
}
