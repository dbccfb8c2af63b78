package service_test

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/mtlsproxy/mtlsproxy/tlsclient/tlstest"
	"github.com/mtlsproxy/mtlsproxy/tlsclient/tlstest/leak"
)

func TestExpectationIsPassedOnAndAnsweredByTheUpstream(t *testing.T) {
	leak.Check(t)
	p := newPKI(t)
	upstream := p.upstream(t, tlstest.Continue(tlstest.OK))
	d := p.daemon(t, upstream)
	c := d.dial()
	for range 2 { // on one connection
		c.send("POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n")
		if a, err := c.next(http.MethodPost); err != nil || a.status != 100 {
			t.Fatalf("before the body came %+v, %v", a, err)
		}
		c.send("hello")
		if a := c.final(http.MethodPost); a.status != 200 {
			t.Fatalf("got %d", a.status)
		}
	}
	seen := upstream.Requests()
	if n := bytes.Count(upstream.Received(), []byte("Expect: 100-continue\r\n")); n != 2 || string(seen[1].Body) != "hello" {
		t.Errorf("the upstream received %q", upstream.Received())
	}
	if st := upstream.Stats(); st.Accepted != 1 {
		t.Errorf("%d upstream connections, want 1", st.Accepted)
	}
}

func TestFinalAnswerInsteadOfContinue(t *testing.T) {
	leak.Check(t)
	p := newPKI(t)
	upstream := p.upstream(t, tlstest.Early(tlstest.Response(413, "too much"), false))
	d := p.daemon(t, upstream)
	c := d.dial()
	c.send("POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n")
	a := c.final(http.MethodPost)
	if a.status != 413 || a.body != "too much" || !a.close { // the body may come or not: nobody can tell
		t.Errorf("got %+v", a)
	}
	c.ended()
	if other := d.dial().get("/"); other.status != 413 {
		t.Errorf("the next request got %d", other.status)
	}
	if st := upstream.Stats(); st.Accepted != 2 {
		t.Errorf("%d upstream connections, want 2: one that is owed a body cannot be used again", st.Accepted)
	}
}

func TestOldClientNeverSeesInformationalResponses(t *testing.T) {
	leak.Check(t)
	p := newPKI(t)
	d := p.daemon(t, p.upstream(t, tlstest.Informational(3, tlstest.OK)))
	c := d.dial()
	c.send("POST / HTTP/1.0\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\nhello")
	if a := c.final(http.MethodPost); a.status != 200 || bytes.Contains(c.received(), []byte(" 10")) {
		t.Errorf("received %q", c.received())
	}
}

func TestInformationalResponsesComeAtOnce(t *testing.T) {
	leak.Check(t)
	p := newPKI(t)
	goOn := make(chan struct{})
	d := p.daemon(t, p.upstream(t, func(c *tlstest.Conn) {
		if _, err := c.ReadRequest(); err == nil {
			c.Write("HTTP/1.1 103 Early Hints\r\nLink: </a.css>\r\nConnection: X-Hop\r\nX-Hop: 1\r\n\r\n")
			<-goOn
			c.Write(tlstest.OK)
			c.WaitClosed()
		}
	}))
	c := d.dial()
	c.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n")
	hint, err := c.next(http.MethodGet)
	close(goOn)
	if err != nil || hint.status != 103 || hint.header.Get("Link") != "</a.css>" || hint.header.Get("X-Hop") != "" {
		t.Errorf("got %+v, %v", hint, err)
	}
	if a := c.final(http.MethodGet); a.status != 200 || a.header.Get("Link") != "" {
		t.Errorf("got %+v", a)
	}
}

func TestEarlyAnswerReachesAClientThatIsStillUploading(t *testing.T) {
	leak.Check(t)
	p := newPKI(t)
	for name, script := range map[string]tlstest.Script{
		"then closes": tlstest.Early(tlstest.Response(413, "too much"), false),
		"then closes slowly": func(c *tlstest.Conn) {
			if _, err := c.ReadRequest(); err == nil {
				c.Write(tlstest.Response(413, "too much"))
				c.R.Discard(1 << 10)
				c.End(tlstest.CloseNotify)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			d := p.daemon(t, p.upstream(t, script))
			c := d.dial()
			c.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 100000000\r\n\r\n")
			over := make(chan struct{})
			go func() {
				defer close(over)
				block := []byte(strings.Repeat("x", 64<<10))
				for range 100 {
					if _, err := c.conn.Write(block); err != nil {
						return
					}
				}
			}()
			a := c.final(http.MethodPost)
			if a.status != 413 || a.body != "too much" || a.cut || !a.close {
				t.Errorf("got %+v", a)
			}
			c.close()
			<-over
		})
	}
}

func TestUploadIsStreamedWithBackpressure(t *testing.T) {
	leak.Check(t)
	p := newPKI(t)
	goOn := make(chan struct{})
	const size = 32 << 20
	upstream := p.upstream(t, func(c *tlstest.Conn) {
		r, err := c.ReadRequest()
		if err != nil {
			return
		}
		if _, err := io.ReadFull(r.Body, make([]byte, 5)); err == nil {
			<-goOn
		}
		n, _ := io.Copy(io.Discard, r.Body)
		c.Write(tlstest.Response(200, fmt.Sprint(n+5)))
		c.WaitClosed()
	})
	d := p.daemon(t, upstream)
	c := d.dial()
	c.send(fmt.Sprintf("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\nhello", size))
	block := []byte(strings.Repeat("x", 64<<10))
	left := size - 5
	c.conn.SetWriteDeadline(time.Now().Add(short))
	for left > 0 {
		n, err := c.conn.Write(block[:min(left, len(block))])
		left -= n
		if err != nil {
			break
		}
	}
	if left == 0 {
		t.Errorf("all of %d bytes were taken while the upstream read none", size)
	}
	close(goOn)
	for c.conn.SetWriteDeadline(time.Now().Add(patience)); left > 0; {
		n, err := c.conn.Write(block[:min(left, len(block))])
		if left -= n; err != nil {
			t.Fatal(err)
		}
	}
	if a := c.final(http.MethodPost); a.body != fmt.Sprint(size) {
		t.Errorf("got %d %q", a.status, a.body)
	}
}

func TestFirstBytesDoNotWaitForTheRest(t *testing.T) {
	leak.Check(t)
	p := newPKI(t)
	f := func(name, request, head string, pieces [3]string, received [3]string) {
		t.Run(name, func(t *testing.T) {
			goOn := make(chan struct{})
			d := p.daemon(t, p.upstream(t, func(c *tlstest.Conn) {
				if _, err := c.ReadRequest(); err != nil {
					return
				}
				c.Write("HTTP/1.1 200 OK\r\n" + head + "\r\n")
				for _, piece := range pieces {
					<-goOn
					c.Write(piece)
				}
			}))
			c := d.dial()
			c.send(request)
			c.readUntil("\r\n\r\n")
			for _, want := range received {
				goOn <- struct{}{}
				c.readUntil(want)
			}
			c.ended()
		})
	}
	const (
		get  = "GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"
		get0 = "GET / HTTP/1.0\r\n\r\n"
	)
	chunks := [3]string{"8\r\ndata: 1\n\r\n", "8\r\ndata: 2\n\r\n", "8\r\ndata: 3\n\r\n0\r\n\r\n"}
	plain := [3]string{"data: 1\n", "data: 2\n", "data: 3\n"}
	f("chunked", get, "Transfer-Encoding: chunked\r\n", chunks, chunks)
	f("length", get, "Content-Length: 24\r\n", plain, plain)
	f("until close", get, "", plain, chunks)
	f("chunked to an old client", get0, "Transfer-Encoding: chunked\r\n", chunks, plain)
	f("until close to an old client", get0, "", plain, plain)
}

// readUntil reads exactly as much as ends in text.
func (c *client) readUntil(text string) {
	c.tb.Helper()
	c.conn.SetReadDeadline(time.Now().Add(patience))
	var got []byte
	for !bytes.HasSuffix(got, []byte(text)) {
		b, err := c.in.ReadByte()
		if err != nil {
			c.tb.Fatalf("waiting for %q: %v after %q", text, err, got)
		}
		got = append(got, b)
	}
}
