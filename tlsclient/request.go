package tlsclient

import (
	"time"

	"github.com/mtlsproxy/mtlsproxy/tlsclient/http1"
)

// Client is who a request is sent for.
type Client interface {
	// Abandoned is asked about twice a second while an exchange waits, more often between
	// two attempts, not
	// always on the goroutine that called Do. An error ends the exchange with it.
	Abandoned() error
	// Informational is given each response with a 1xx status other than 101. The
	// response is valid during the call only. An error ends the exchange with it.
	Informational(*http1.Response) error
	// StopBody makes a Next that waits for more of the request's body return.
	StopBody()
}

// Request is what Do sends. The slices must stay valid until the body is first read, and
// without a body until Do returns.
type Request struct {
	Method []byte
	Target []byte // origin form, or "*"
	Host   []byte
	Fields []http1.Field // Host and what frames the body or governs the connection are added by Do

	Framing http1.Framing // NoBody, ByLength or Chunked
	Length  int64
	// Body is read until the response is closed, partly by another goroutine.
	// It may be nil with NoBody.
	Body *http1.Body

	Continue   bool // send Expect: 100-continue
	WebSocket  bool // ask to switch to websocket
	Idempotent bool // may be repeated, RFC 9110 9.2.2
	Client     Client
	Retry      *RetryPolicy // when to send it again beside what is always safe; nil: never

	Begun time.Time // when the exchange began; zero: with Do
}

func (r *Request) hasBody() bool {
	return r.Framing == http1.Chunked || r.Framing == http1.ByLength && r.Length > 0
}

// appendHead writes the request's head under our own framing.
func (r *Request) appendHead(dst []byte) []byte {
	dst = http1.AppendRequestLine(dst, r.Method, r.Target)
	dst = append(dst, "Host: "...)
	dst = append(dst, r.Host...)
	dst = append(dst, '\r', '\n')
	dst = http1.AppendFields(dst, r.Fields)
	dst = http1.AppendFraming(dst, r.Framing, r.Length)
	if r.Continue {
		dst = append(dst, "Expect: 100-continue\r\n"...)
	}
	if r.WebSocket {
		dst = append(dst, "Connection: Upgrade\r\nUpgrade: websocket\r\n"...)
	}
	return append(dst, '\r', '\n')
}
