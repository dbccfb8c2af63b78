package admin

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/mtlsproxy/mtlsproxy/service/admin/api"
)

// request sends a request over c and returns the answer's status.
func request(c net.Conn, target string) (int, error) {
	if _, err := fmt.Fprintf(c, "GET %s HTTP/1.1\r\nHost: x\r\n\r\n", target); err != nil {
		return 0, err
	}
	resp, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil {
		return 0, err
	}
	_, err = io.Copy(io.Discard, resp.Body)
	return resp.StatusCode, err
}

func TestConnectionsAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := startPipes(t, ready)
		w.uid.Store(reader)
		var held []net.Conn
		for i := range maxConns {
			held = append(held, w.connect(t))
			if status, err := request(held[i], "/v1/version"); status != http.StatusOK {
				t.Fatalf("connection %d: %d, %v", i+1, status, err)
			}
		}
		surplus := w.connect(t)
		if status, err := request(surplus, "/v1/version"); status != http.StatusServiceUnavailable {
			t.Errorf("one too many: %d, %v", status, err)
		}
		if _, err := surplus.Read(make([]byte, 1)); !errors.Is(err, io.EOF) {
			t.Errorf("one too many stays open: %v", err)
		}
		w.uid.Store(0)
		root := w.connect(t)
		if status, err := request(root, "/v1/version"); status != http.StatusOK {
			t.Errorf("root is locked out: %d, %v", status, err)
		}
		for range reserve - 1 {
			w.connect(t)
		}
		if _, err := request(w.connect(t), "/v1/version"); err == nil {
			t.Error("a connection beyond the reserve was served")
		}
		if l := w.server.Limits()[0]; l.Capacity != maxConns || l.Used != maxConns+reserve || l.Rejected != 2 {
			t.Errorf("limits say %+v", l)
		}

		held[0].Close()
		root.Close()
		<-time.After(headerTime) // those of the reserve that say nothing go, too
		synctest.Wait()
		w.uid.Store(reader)
		if status, err := request(w.connect(t), "/v1/version"); status != http.StatusOK {
			t.Errorf("after one has gone: %d, %v", status, err)
		}
	})
}

func TestStreamsAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := startPipes(t, &fake{tail: silent})
		var open []*http.Response
		for range maxStreams {
			open = append(open, w.open(t, reader))
		}
		resp := w.open(t, reader)
		if resp.StatusCode != http.StatusServiceUnavailable {
			t.Errorf("one too many: %s", resp.Status)
		}
		if l := w.server.Limits()[1]; l.Used != maxStreams || l.Rejected != 1 {
			t.Errorf("limits say %+v", l)
		}
		open[0].Body.Close()
		synctest.Wait()
		if resp := w.open(t, reader); resp.StatusCode != http.StatusOK {
			t.Errorf("after one has ended: %s", resp.Status)
		}
	})
}

// ends returns after what time the server closes c.
func ends(c net.Conn) time.Duration {
	begin := time.Now()
	_, _ = io.Copy(io.Discard, c)
	return time.Since(begin)
}

func TestSlowClientsAreCutOff(t *testing.T) {
	for name, c := range map[string]struct {
		sends string
		want  time.Duration
	}{
		"says nothing":       {"", headerTime},
		"half a header":      {"GET /v1/version HTTP/1.1\r\nHos", headerTime},
		"idle":               {"GET /v1/version HTTP/1.1\r\nHost: x\r\n\r\n", idleTime},
		"half a body":        {"POST /v1/drain HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 90\r\n\r\n{", bodyTime},
		"body of a refusal":  {"POST /v1/reload HTTP/1.1\r\nHost: x\r\nContent-Length: 90\r\n\r\n{", bodyTime},
		"body to nowhere":    {"POST /nowhere HTTP/1.1\r\nHost: x\r\nContent-Length: 90\r\n\r\n{", bodyTime},
		"body that goes on":  {"POST /nowhere HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n1\r\n{\r\n", bodyTime},
		"asks before a body": {"POST /v1/drain HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nExpect: 100-continue\r\nContent-Length: 9\r\n\r\n", bodyTime},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := startPipes(t, ready)
				conn := w.connect(t)
				go io.WriteString(conn, c.sends)
				if got := ends(conn); got > c.want+time.Second || got < c.want && c.want != bodyTime {
					t.Errorf("closed after %v, want %v", got, c.want)
				}
			})
		})
	}
}

func TestClientThatDoesNotTakeItsAnswerIsCutOff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := startPipes(t, ready)
		conn := w.connect(t)
		if _, err := io.WriteString(conn, "GET /v1/version HTTP/1.1\r\nHost: x\r\n\r\n"); err != nil {
			t.Fatal(err)
		}
		<-time.After(writeTime + time.Second) // of the bubble's clock
		synctest.Wait()
		if n := w.server.Limits()[0].Used; n != 0 {
			t.Errorf("%d connections are open", n)
		}
	})
}

func TestALongReloadIsWaitedFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := &fake{reload: func(ctx context.Context, _ string) (api.Reload, error) {
			select {
			case <-time.After(5 * time.Minute):
				return api.Reload{OK: true}, nil
			case <-ctx.Done():
				return api.Reload{}, ctx.Err()
			}
		}}
		w := startPipes(t, b)
		if resp, body := w.ask(t, operator, "POST", "/v1/reload", ""); resp.StatusCode != http.StatusOK || !strings.Contains(body, `"ok":true`) {
			t.Errorf("%s %s", resp.Status, body)
		}
	})
}

func TestCloseWaitsForARequestButNotForEver(t *testing.T) {
	for name, c := range map[string]struct {
		takes, want time.Duration
		heeds       bool // the end of its context
		status      string
	}{
		"short":             {time.Second, 2 * time.Second, true, "200"},
		"long":              {time.Hour, graceTime + time.Millisecond, true, ""},
		"long, and goes on": {time.Hour, graceTime + endTime + time.Millisecond, false, ""},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				begun := make(chan struct{})
				b := &fake{reload: func(ctx context.Context, _ string) (api.Reload, error) {
					close(begun)
					gone := ctx.Done()
					if !c.heeds {
						gone = nil
					}
					select {
					case <-time.After(c.takes):
					case <-gone:
					}
					return api.Reload{OK: true}, nil
				}}
				w := startPipes(t, b)
				conn := w.connect(t)
				go io.WriteString(conn, "POST /v1/reload HTTP/1.1\r\nHost: x\r\n\r\n")
				answer := make(chan string)
				go func() {
					b, _ := io.ReadAll(conn)
					answer <- string(b)
				}()
				<-begun
				begin := time.Now()
				w.server.Close()
				if d := time.Since(begin); d > c.want {
					t.Errorf("Close took %v, want %v", d, c.want)
				}
				if got := <-answer; c.status != "" && !strings.HasPrefix(got, "HTTP/1.1 "+c.status) || c.status == "" && got != "" {
					t.Errorf("the answer is %q", got)
				}
				if name == "long, and goes on" {
					<-time.After(c.takes) // of the bubble's clock
				}
			})
		})
	}
}

func TestNothingIsServedAfterClose(t *testing.T) {
	p := newPipes()
	s := New(Options{Backend: ready, Log: discard})
	s.Close()
	if err := s.Serve(p); err != nil {
		t.Error(err)
	}
	if _, err := p.Accept(); !errors.Is(err, net.ErrClosed) {
		t.Errorf("the listener is open: %v", err)
	}
}

func TestServeTellsWhyItEnds(t *testing.T) {
	p := newPipes()
	p.Close()
	s := New(Options{Backend: ready, Log: discard})
	defer s.Close()
	if err := s.Serve(p); !errors.Is(err, net.ErrClosed) {
		t.Errorf("got %v", err)
	}
}

func TestTheTimeForABodyEndsWithTheBody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := startPipes(t, ready)
		slow := change(http.MethodPost, "/v1/slow", "Takes its time", func(c *call, _ api.Target) (api.Changed, error) {
			select {
			case <-time.After(10 * bodyTime):
				return api.Changed{Message: "done"}, nil
			case <-c.r.Context().Done():
				return api.Changed{}, c.r.Context().Err()
			}
		})
		w.server.engine.routes[slow.path] = []*route{&slow}
		if resp, body := w.ask(t, operator, "POST", "/v1/slow", `{"upstream":"x"}`); resp.StatusCode != http.StatusOK {
			t.Errorf("%s %s", resp.Status, body)
		}
	})
}
