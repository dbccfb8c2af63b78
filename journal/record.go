package journal

import "time"

// Record is what the request log keeps of one exchange. Never header values or
// bodies.
//
// Its byte slices belong to whoever made it: Add copies what it keeps, and a record
// that a query or a follower passes on is valid only until that call returns.
type Record struct {
	Time     time.Time // when the head of the request had been read
	ID       []byte    // of the request, at most 128 bytes
	Listener string
	Caller   int64 // uid, or NoCaller
	Route    string
	Upstream string
	Endpoint string // host:port; "" if none was chosen
	Method   []byte
	Host     []byte // as asked for, lower case
	Path     []byte // with its query only if the configuration says so
	Status   int    // as sent to the client; 0 if nothing was
	Class    string // error class; "" for an upstream's answer that came through whole
	Fault    string // "client", "upstream" or "self"; "" with an empty Class
	BytesIn  int64  // read from the client, head and body
	BytesOut int64  // written to the client

	Queue     time.Duration // waiting for a connection of the pool
	Connect   time.Duration // making one: TCP and TLS
	FirstByte time.Duration // from Time to the first byte of the response; 0 if there was none
	Total     time.Duration // from Time to the last byte of the answer

	Attempts   int    // requests sent upstream; 0 if none was
	Reused     bool   // the connection had carried an exchange before
	TLS        uint16 // version, as crypto/tls numbers them; 0 without a connection
	Serial     string // of the client certificate shown, hexadecimal
	Generation uint64
}

// NoCaller is the Caller of a record whose caller is unknown.
const NoCaller = -1
