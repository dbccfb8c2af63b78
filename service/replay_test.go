package service_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/mtlsproxy/mtlsproxy/tlsclient/tlstest"
	"github.com/mtlsproxy/mtlsproxy/tlsclient/tlstest/leak"
)

// A body that is read after its head lies where the head was. What is sent again must be
// what was judged, not what the client has put over it.
func TestARequestThatIsSentAgainIsTheSame(t *testing.T) {
	for name, c := range map[string]struct {
		route  string
		script func(requests chan<- string) tlstest.Script
	}{
		"after a status": {"retry = { statuses = [503] }\n", func(requests chan<- string) tlstest.Script {
			return answers(requests, func(_, n int) string {
				if n == 1 {
					return tlstest.Response(503, "no")
				}
				return tlstest.OK
			})
		}},
		"after a reset of a kept connection": {"", func(requests chan<- string) tlstest.Script {
			return answers(requests, func(connection, n int) string {
				if connection == 0 && n == 1 {
					return ""
				}
				return tlstest.OK
			})
		}},
	} {
		t.Run(name, func(t *testing.T) {
			leak.Check(t)
			p := newPKI(t)
			requests := make(chan string, 10)
			up := p.upstream(t, c.script(requests))
			o := p.operate(t, oneRoute(up.Addr, "retry = { attempts = 3 }")+c.route)
			client := o.dial()
			client.get("/warm")
			<-requests
			body := "PUT /evil HTTP/1.1\r\nHost: evil\r\nContent-Length: 0\r\n\r\nDELETE /admin HTTP/1.1\r\nHost: evil\r\n\r\n" + strings.Repeat("y", 500)
			client.send(fmt.Sprintf("PUT /good HTTP/1.1\r\nHost: good\r\nX-Field: %s\r\nContent-Length: %d\r\n\r\n", strings.Repeat("x", 60), len(body)))
			o.await("the head has been forwarded", func() bool { return o.status().InFlight == 1 })
			client.send(body)
			if a := client.final("PUT"); a.status != 200 {
				t.Fatalf("status %d", a.status)
			}
			first, again := <-requests, <-requests
			if first != again || !strings.Contains(first, "PUT /good ") || !strings.HasSuffix(first, body) {
				t.Errorf("first:\n%s\nagain:\n%s", first, again)
			}
		})
	}
}

// answers tells of every request, and answers as reply says for the number of the
// connection and of the request on all of them; with "" it resets.
func answers(requests chan<- string, reply func(connection, n int) string) tlstest.Script {
	n := -1
	return func(c *tlstest.Conn) {
		for {
			r, err := c.ReadRequest()
			if err != nil {
				return
			}
			body, err := c.ReadBody(r)
			if err != nil {
				return
			}
			n++
			requests <- fmt.Sprintf("%s %s %v\n%s", r.Method, r.RequestURI, r.Header, body)
			answer := reply(c.Index, n)
			if answer == "" {
				c.End(tlstest.Reset)
				return
			}
			if c.Write(answer) != nil {
				return
			}
		}
	}
}
