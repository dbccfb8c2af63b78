package front

import (
	"io"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/mtlsproxy/mtlsproxy/tlsclient/http1"
	"github.com/mtlsproxy/mtlsproxy/tlsclient/rawconn"
	"github.com/mtlsproxy/mtlsproxy/tlsclient/tlstest/leak"
)

// purse is a budget.
type purse struct{ left atomic.Int64 }

func (p *purse) Acquire(n int64) bool {
	if p.left.Add(-n) < 0 {
		p.left.Add(n)
		return false
	}
	return true
}

func (p *purse) Release(n int64) { p.left.Add(n) }

func TestExchangeWithoutMemoryIsToldSo(t *testing.T) {
	leak.Check(t)
	p := new(purse)
	p.left.Store(exchangeMemory)
	under, goOn := make(chan struct{}), make(chan struct{})
	_, dial := serve(t, func(x *Exchange) {
		if string(x.Request.Path) == "/slow" {
			under <- struct{}{}
			<-goOn
		}
		told(x)
	}, func(s *Server) { s.Memory = p })
	idle := dial()
	wantExchange(t, idle, nil) // and holds nothing after it
	slow := dial()
	io.WriteString(slow, strings.Replace(get, "/", "/slow", 1))
	<-under
	wantExchange(t, dial(), ErrMemory)
	close(goOn)
	slow.Read(make([]byte, 1))
	await(t, func() bool { return p.left.Load() == exchangeMemory })
	wantExchange(t, idle, nil)
}

func TestPanicGivesSeatAndMemoryBack(t *testing.T) {
	leak.Check(t)
	p, r := new(purse), &room{total: 1}
	p.left.Store(exchangeMemory)
	_, dial := serve(t, func(*Exchange) { panic("BUG: on purpose") }, func(s *Server) { s.Memory, s.Seats = p, r })
	ask(t, dial(), get)
	await(t, func() bool { return r.free() > 0 })
	if p.left.Load() != exchangeMemory {
		t.Errorf("%d bytes are left, want %d", p.left.Load(), exchangeMemory)
	}
}

func TestTunnelHoldsNoMemoryForExchanges(t *testing.T) {
	leak.Check(t)
	for name, ahead := range map[string]string{"nothing is sent ahead": "", "a frame is sent ahead": "an early frame"} {
		t.Run(name, func(t *testing.T) {
			p := new(purse)
			p.left.Store(exchangeMemory)
			_, dial := serve(t, func(x *Exchange) {
				if string(x.Request.Path) != "/tunnel" {
					told(x)
					return
				}
				x.Head(101, []byte("Switching Protocols"), nil, http1.NoBody, -1)
				tunnel, _ := x.Tunnel()
				for got := ""; ; {
					buf, n, err := tunnel.Read(x.conn.server.Buffers)
					if err != nil {
						if got != ahead {
							t.Errorf("the tunnel brought %q, want %q", got, ahead)
						}
						return
					}
					got += string(buf[:n])
					x.conn.server.Buffers.Put(buf)
				}
			}, func(s *Server) { s.Memory = p })
			c := dial()
			io.WriteString(c, strings.Replace(get, "/", "/tunnel", 1)+ahead)
			if _, err := c.Read(make([]byte, rawconn.BufferSize)); err != nil {
				t.Fatal(err)
			}
			await(t, func() bool { return p.left.Load() == exchangeMemory })
			wantExchange(t, dial(), nil)
		})
	}
}

// What is larger than a buffer takes more memory, and is answered where there is none.
func TestHeadForWhichThereIsNoMemoryIsToldSo(t *testing.T) {
	leak.Check(t)
	for name, more := range map[string]int64{"enough": 2 * rawconn.BufferSize, "a byte too little": 2*rawconn.BufferSize - 1} {
		t.Run(name, func(t *testing.T) {
			p := new(purse)
			p.left.Store(exchangeMemory + more)
			_, dial := serve(t, func(x *Exchange) {
				if x.Broken != nil && x.Broken != ErrCrowded {
					t.Errorf("the head is broken: %v", x.Broken)
				}
				told(x)
			}, func(s *Server) { s.Memory = p })
			c := dial()
			large := strings.Replace(get, "\r\n\r\n", "\r\nX: "+strings.Repeat("x", 20<<10)+"\r\n\r\n", 1)
			if _, err := io.WriteString(c, large); err != nil {
				t.Fatal(err)
			}
			want := "carried"
			if name != "enough" {
				want = ErrMemory.Error()
			}
			b := make([]byte, 4096)
			n, err := c.Read(b)
			if _, text, _ := strings.Cut(string(b[:n]), "\r\n\r\n"); text != want {
				t.Errorf("got %q, %v, want %q", b[:n], err, want)
			}
			await(t, func() bool { return p.left.Load() == exchangeMemory+more })
		})
	}
}

func TestHeadThatIsStillToComeHoldsItsBufferOnly(t *testing.T) {
	leak.Check(t)
	p := new(purse)
	p.left.Store(exchangeMemory + headMemory)
	_, dial := serve(t, told, func(s *Server) { s.Memory = p })
	io.WriteString(dial(), get[:len(get)-2])
	await(t, func() bool { return p.left.Load() == exchangeMemory })
	wantExchange(t, dial(), nil)
}
