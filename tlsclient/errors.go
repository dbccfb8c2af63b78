package tlsclient

import (
	"errors"
	"fmt"
	"time"
)

// Class names what went wrong, in the words that answers, records and metrics use.
type Class string

// The classes this package gives out.
const (
	IdentityUnavailable Class = "identity_unavailable" // no generation is loaded
	IdentityExpired     Class = "identity_expired"     // the certificate is outside its validity
	ConnectFailed       Class = "connect_failed"       // no TCP connection, or no address
	ConnectTimeout      Class = "connect_timeout"      // no TCP connection in time
	TLSVerifyFailed     Class = "tls_verify_failed"    // the server's certificate was refused
	ClientCertRejected  Class = "client_cert_rejected" // the server refused ours
	TLSFailed           Class = "tls_failed"           // any other failure of the handshake or a record
	UpstreamTimeout     Class = "upstream_timeout"     // connected, but no answer in time
	UpstreamReset       Class = "upstream_reset"       // the connection ended before or within the response
	UpstreamBadResponse Class = "upstream_bad_response"
	Overloaded          Class = "overloaded"   // every connection was busy for too long
	BadRequest          Class = "bad_request"  // the request's body broke its framing
	ClientGone          Class = "client_gone"  // nobody waits for the answer any more
	BreakerOpen         Class = "breaker_open" // every endpoint failed again and again, and is left alone
	NoEndpoint          Class = "no_endpoint"  // all are drained, or fail their health checks
	Draining            Class = "draining"     // the daemon is ending, or the connection's generation: see ErrRetired
	Internal            Class = "internal"
)

// Fault is whose doing an error was. Only an upstream's counts against it.
type Fault uint8

// The faults.
const (
	FaultSelf Fault = iota
	FaultClient
	FaultUpstream
)

func (f Fault) String() string {
	switch f {
	case FaultClient:
		return "client"
	case FaultUpstream:
		return "upstream"
	}
	return "self"
}

// Error is why there is no response, or no more of it.
type Error struct {
	Class    Class
	Fault    Fault
	Endpoint string // host:port, if one was chosen
	// RetryAfter is when to ask again at the earliest, with BreakerOpen and NoEndpoint; 0:
	// nobody knows, or at once.
	RetryAfter time.Duration
	Err        error
}

func (e *Error) Error() string {
	if e.Endpoint == "" {
		return fmt.Sprintf("%s: %v", e.Class, e.Err)
	}
	return fmt.Sprintf("%s: endpoint %s: %v", e.Class, e.Endpoint, e.Err)
}

func (e *Error) Unwrap() error { return e.Err }

// asError returns the *Error in err's chain, or nil.
func asError(err error) *Error {
	e, _ := errors.AsType[*Error](err)
	return e
}
