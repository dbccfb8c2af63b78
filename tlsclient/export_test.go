package tlsclient

import "time"

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
