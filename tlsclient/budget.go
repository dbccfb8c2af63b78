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
type budget struct {
	seconds [budgetTime]second
}

// second counts what happened in one.
type second struct {
	at                int64 // since 1970
	requests, retries int
}

func (b *budget) second(now time.Time) *second {
	at := now.Unix()
	s := &b.seconds[at%budgetTime]
	if s.at < at {
		*s = second{at: at}
	}
	return s
}

// request counts one.
func (b *budget) request(now time.Time) { b.second(now).requests++ }

// withdraw counts a retry, unless there have been too many.
func (b *budget) withdraw(o *RetryOptions, now time.Time) bool {
	this := b.second(now)
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
