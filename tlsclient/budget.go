package tlsclient

import "time"

// RetryOptions bound how often an upstream's requests are sent again.
type RetryOptions struct {
	Attempts int // of one request in all; below 2: it is not sent again
	// Of the requests of the last ten seconds, Percent in a hundred may be sent again,
	// and Min beside them.
	Percent int
	Min     int
}

// budgetTime is for how long requests and retries count.
const budgetTime = 10

// budget bounds the retries of an upstream: when everything fails, to send everything
// again makes it worse. The upstream's mutex guards it.
// It counts the seconds of the upstream's life: a clock that is set back must not bring
// back what was spent.
type budget struct {
	seconds [budgetTime]second
}

// second counts what happened in one.
type second struct {
	at                int64
	requests, retries int
}

// second is how many of them the upstream has lived.
func (u *Upstream) second(now time.Time) int64 { return int64(now.Sub(u.begun) / time.Second) }

func (b *budget) second(at int64) *second {
	s := &b.seconds[at%budgetTime]
	if s.at < at {
		*s = second{at: at}
	}
	return s
}

// request counts one.
func (b *budget) request(at int64) { b.second(at).requests++ }

// withdraw counts a retry, unless there have been too many.
func (b *budget) withdraw(o *RetryOptions, at int64) bool {
	this := b.second(at)
	requests, retries := 0, 0
	for i := range b.seconds {
		if s := &b.seconds[i]; s.at > this.at-budgetTime && s.at <= this.at {
			requests += s.requests
			retries += s.retries
		}
	}
	if (retries+1)*100 > o.Min*100+requests*o.Percent {
		return false
	}
	this.retries++
	return true
}

// deposit takes back a retry that was counted at a second and not made.
func (b *budget) deposit(at int64) {
	if s := b.second(at); s.at == at && s.retries > 0 {
		s.retries--
	}
}
