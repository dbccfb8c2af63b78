package limiter

// Rejection is why something was not admitted. It is an error, and its text is a
// word that can stand as a metric's label.
type Rejection uint8

const (
	RateExceeded Rejection = iota + 1 // the key's tokens are spent
	Full                              // as many are inside as may be, and there is no queue
	QueueFull                         // all are inside that may be, and as many wait as may
	Timeout                           // the wait in the queue took too long
	Caller                            // the key itself holds as many as one key may

	rejections
)

var rejectionNames = [rejections]string{
	RateExceeded: "rate", Full: "full", QueueFull: "queue_full", Timeout: "timeout", Caller: "caller",
}

// Error implements error.
func (r Rejection) Error() string {
	if r == 0 || r >= rejections {
		return "unknown"
	}
	return rejectionNames[r]
}

// Rejected counts what was not admitted, by Rejection. It only grows.
type Rejected [rejections]uint64

// Total is the sum over all reasons.
func (r Rejected) Total() uint64 {
	var sum uint64
	for _, n := range r {
		sum += n
	}
	return sum
}

// Stats is what a limit holds at one moment. A capacity of 0 is no bound. Used may
// be above Capacity for a while after a limit was made smaller.
type Stats struct {
	Capacity, Used int64 // inside; for a Rate the keys it remembers, for Bytes bytes

	QueueCapacity, Waiting int64 // of a Gate

	// Of one key: what it may hold, and what the key that holds most does hold. For a
	// Rate these are tokens: the burst, and what is spent of it.
	KeyCapacity, KeyUsed int64

	Rejected  Rejected
	Abandoned uint64 // waits in a Gate's queue that the waiting side itself ended
	Evicted   uint64 // keys that a Rate put out of its table for newer ones
}
