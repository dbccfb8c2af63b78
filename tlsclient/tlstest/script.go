package tlstest

import (
	"fmt"
	"strings"
	"time"
)

// A Script is how an upstream treats one connection. It runs in the connection's goroutine and should return when
// reading or writing fails.
type Script func(*Conn)

// OK is a complete response with a body of two bytes.
const OK = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"

// Response composes a complete response with a Content-Length.
func Response(status int, body string) string {
	return fmt.Sprintf("HTTP/1.1 %d Test\r\nContent-Length: %d\r\n\r\n%s", status, len(body), body)
}

// perRequest reads whole requests and answers each through answer until that says false or the client is gone.
func perRequest(answer func(c *Conn, r *Request) bool) Script {
	return func(c *Conn) {
		for {
			r, err := c.ReadRequest()
			if err != nil {
				return
			}
			if _, err := c.ReadBody(r); err != nil {
				return
			}
			if status := c.turnedAway(); status != 0 {
				if c.Write(Response(status, "")) != nil || r.Close {
					return
				}
				continue
			}
			if !answer(c, r) || r.Close {
				return
			}
		}
	}
}

// thenEnd reads one request with its body, sends the pieces and ends the connection.
func thenEnd(end End, pieces ...string) Script {
	return perRequest(func(c *Conn, _ *Request) bool {
		if c.Write(pieces...) == nil {
			c.End(end)
		}
		return false
	})
}

// Static answers every request with the given bytes and keeps the connection alive, whatever they say.
func Static(response string) Script {
	return perRequest(func(c *Conn, _ *Request) bool { return c.Write(response) == nil })
}

// PerConnection gives the first connection to the first script, and so on; the last one serves all further ones.
func PerConnection(scripts ...Script) Script {
	return func(c *Conn) { scripts[min(c.Index, len(scripts)-1)](c) }
}

// PerRequest answers the requests of each connection with the given responses in turn and then ends it.
func PerRequest(end End, responses ...string) Script {
	return func(c *Conn) {
		i := 0
		perRequest(func(c *Conn, _ *Request) bool {
			i++
			return c.Write(responses[i-1]) == nil && i < len(responses)
		})(c)
		c.End(end)
	}
}

// CloseAtOnce ends the connection right after the handshake.
func CloseAtOnce(end End) Script { return func(c *Conn) { c.End(end) } }

// CloseBeforeResponse reads a request and ends the connection without a byte of response.
func CloseBeforeResponse(end End) Script { return thenEnd(end) }

// CloseWithinHead ends the connection in the middle of the response head.
func CloseWithinHead(end End) Script { return thenEnd(end, "HTTP/1.1 200 OK\r\nContent-Le") }

// CloseAfterHead ends the connection after a response head that announced a body.
func CloseAfterHead(end End) Script { return TruncateBody(0, end) }

// TruncateBody announces 1000 bytes more than the n it sends, then ends the connection.
func TruncateBody(n int, end End) Script {
	return thenEnd(end, fmt.Sprintf("HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n", n+1000), strings.Repeat("x", n))
}

// TruncateChunked sends one chunk of n > 0 bytes and ends the connection without the last chunk.
func TruncateChunked(n int, end End) Script {
	return thenEnd(end, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
		fmt.Sprintf("%x\r\n%s\r\n", n, strings.Repeat("x", n)))
}

// UntilClose sends n bytes without any framing. With [CloseNotify] the response is complete, otherwise nobody can
// tell.
func UntilClose(n int, end End) Script {
	return thenEnd(end, "HTTP/1.1 200 OK\r\n\r\n", strings.Repeat("x", n))
}

// ResetMidBody resets the connection after n of n+1000 announced bytes.
func ResetMidBody(n int) Script { return TruncateBody(n, Reset) }

// Slow sends the response one byte at a time with a pause between two.
func Slow(pause time.Duration, response string) Script {
	return perRequest(func(c *Conn, _ *Request) bool {
		return c.WriteSlowly(pause, strings.Split(response, "")...) == nil
	})
}

// NeverAnswer reads the request and stays silent until the client gives up.
func NeverAnswer() Script {
	return perRequest(func(c *Conn, _ *Request) bool {
		c.WaitClosed()
		return false
	})
}

// CloseIdle answers properly and then closes the connection without having announced it, as servers with a short
// keep-alive time do to clients that are about to send the next request.
func CloseIdle(response string, end End) Script { return thenEnd(end, response) }

// Early answers as soon as it has the request's head. If it does not drain the body, the connection then ends with
// close_notify; otherwise it is kept.
func Early(response string, drainBody bool) Script {
	return func(c *Conn) {
		for {
			r, err := c.ReadRequest()
			if err != nil || c.Write(response) != nil || !drainBody {
				return
			}
			if _, err := c.ReadBody(r); err != nil {
				return
			}
		}
	}
}

// Continue answers "Expect: 100-continue" with 100 before it reads the body, then with the response.
func Continue(response string) Script {
	return func(c *Conn) {
		for {
			r, err := c.ReadRequest()
			if err != nil {
				return
			}
			if r.Header.Get("Expect") != "" && c.Write("HTTP/1.1 100 Continue\r\n\r\n") != nil {
				return
			}
			if _, err := c.ReadBody(r); err != nil || c.Write(response) != nil {
				return
			}
		}
	}
}

// Surplus sends the response and extra in one record: bytes that belong to no request.
func Surplus(response, extra string) Script {
	return perRequest(func(c *Conn, _ *Request) bool { return c.Write(response+extra) == nil })
}

// Informational sends n 103 responses before the response.
func Informational(n int, response string) Script {
	return Static(strings.Repeat("HTTP/1.1 103 Early Hints\r\nLink: </style.css>\r\n\r\n", n) + response)
}

// Plaintext is a BeforeHandshake that injects bytes in front of the TLS handshake and then goes on with it.
func Plaintext(injected string) func(*Conn) bool {
	return func(c *Conn) bool {
		_, err := c.TCP.Write([]byte(injected))
		return err == nil
	}
}

// Stall is a BeforeHandshake that accepts the connection and never says a word.
func Stall(c *Conn) bool {
	buffer := make([]byte, 4096)
	for {
		if _, err := c.TCP.Read(buffer); err != nil {
			return false
		}
	}
}
