package rawconn

import (
	"bytes"
	"crypto/rand"
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/mtlsproxy/mtlsproxy/tlsclient/tlstest/leak"
)

func TestMain(m *testing.M) { leak.Main(m) }

// pairs are the kinds of connection there are.
var pairs = map[string]func(t *testing.T) (net.Listener, string){
	"tcp": func(t *testing.T) (net.Listener, string) {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		return l, l.Addr().String()
	},
	"unix": func(t *testing.T) (net.Listener, string) {
		path := filepath.Join(t.TempDir(), "s")
		l, err := net.Listen("unix", path)
		if err != nil {
			t.Fatal(err)
		}
		return l, path
	},
}

// halfCloser is what both kinds of net.Conn are.
type halfCloser interface {
	net.Conn
	CloseWrite() error
}

// both runs a test on a connection of each kind.
func both(t *testing.T, test func(t *testing.T, c *Conn, peer halfCloser)) {
	for network, listen := range pairs {
		t.Run(network, func(t *testing.T) {
			leak.Check(t)
			c, peer := connect(t, network, listen)
			test(t, c, peer)
		})
	}
}

func connect(t *testing.T, network string, listen func(*testing.T) (net.Listener, string)) (*Conn, halfCloser) {
	l, address := listen(t)
	defer l.Close()
	peer, err := net.Dial(network, address)
	if err != nil {
		t.Fatal(err)
	}
	near, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	c, err := New(near)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close(); peer.Close() })
	return c, peer.(halfCloser)
}

func TestReadAndWrite(t *testing.T) {
	both(t, func(t *testing.T, c *Conn, peer halfCloser) {
		sent := make([]byte, 4<<20) // more than the sockets hold: both sides wait
		rand.Read(sent)
		written := make(chan struct{})
		go func() {
			defer close(written)
			c.Write(sent)
			c.CloseWrite()
		}()
		go func() {
			peer.Write(sent)
			peer.CloseWrite()
		}()
		theirs := make(chan []byte)
		go func() {
			b, _ := io.ReadAll(peer)
			theirs <- b
		}()
		ours, err := io.ReadAll(c)
		if err != nil || !bytes.Equal(ours, sent) || !bytes.Equal(<-theirs, sent) {
			t.Errorf("what arrived differs: %v", err)
		}
		<-written
		if !c.EOF() || c.Written() != int64(len(sent)) {
			t.Errorf("end seen: %v, %d bytes written", c.EOF(), c.Written())
		}
	})
}

func TestReadDeadline(t *testing.T) {
	set := map[string]func(*Conn){
		"by":     func(c *Conn) { c.ReadBy(time.Now().Add(30 * time.Millisecond)) },
		"within": func(c *Conn) { c.ReadWithin(30 * time.Millisecond) },
		"passed": func(c *Conn) { c.ReadBy(time.Now().Add(-time.Second)) },
	}
	for name, set := range set {
		t.Run(name, func(t *testing.T) {
			both(t, func(t *testing.T, c *Conn, peer halfCloser) {
				for range 2 {
					set(c)
					if _, err := c.Read(make([]byte, 1)); !errors.Is(err, os.ErrDeadlineExceeded) {
						t.Fatalf("got %v, want a timeout", err)
					}
				}
				c.ReadBy(time.Time{})
				peer.Write([]byte("x"))
				if n, err := c.Read(make([]byte, 1)); n != 1 || err != nil {
					t.Errorf("reading after a timeout: %v", err)
				}
			})
		})
	}
}

// An armed deadline that is earlier than the wanted one fires for nothing.
func TestEarlyDeadlineIsNotSeen(t *testing.T) {
	both(t, func(t *testing.T, c *Conn, peer halfCloser) {
		c.ReadWithin(20 * time.Millisecond)
		c.Read(make([]byte, 1)) // arms it
		c.ReadBy(time.Now().Add(10 * time.Millisecond))
		go func() {
			<-time.After(5 * time.Millisecond)
			peer.Write([]byte("x"))
		}()
		if _, err := c.Read(make([]byte, 1)); err != nil {
			t.Fatal(err)
		}
		c.ReadBy(time.Now().Add(time.Minute))
		go func() {
			<-time.After(50 * time.Millisecond)
			peer.Write([]byte("y"))
		}()
		if _, err := c.Read(make([]byte, 1)); err != nil {
			t.Errorf("got %v", err)
		}
	})
}

func TestWriteDeadline(t *testing.T) {
	both(t, func(t *testing.T, c *Conn, _ halfCloser) {
		c.WriteWithin(30 * time.Millisecond)
		if n, err := c.Write(make([]byte, 64<<20)); !errors.Is(err, os.ErrDeadlineExceeded) || n == 0 {
			t.Errorf("got %d, %v; want a part and a timeout", n, err)
		}
	})
}

// What the kernel holds of a large buffer is long on its way to a slow peer, and only then
// says TCP that there is room.
func TestWriteDeadlineIsNotForAPeerThatIsSlow(t *testing.T) {
	both(t, func(t *testing.T, c *Conn, peer halfCloser) {
		type buffered interface{ SetWriteBuffer(bytes int) error }
		c.NetConn().(buffered).SetWriteBuffer(512 << 10)
		const size = 2 << 20
		done := make(chan int)
		go func() {
			pace := time.NewTicker(20 * time.Millisecond)
			defer pace.Stop()
			n := 0
			for b := make([]byte, 32<<10); n < size; <-pace.C {
				m, err := peer.Read(b)
				if n += m; err != nil {
					break
				}
			}
			done <- n
		}()
		c.WriteWithin(200 * time.Millisecond)
		if n, err := c.Write(make([]byte, size)); err != nil {
			t.Errorf("got %d, %v", n, err)
			c.Close()
		}
		if n := <-done; n != size {
			t.Errorf("the peer has read %d bytes of %d", n, size)
		}
	})
}

func TestTickEndsARead(t *testing.T) {
	both(t, func(t *testing.T, c *Conn, _ halfCloser) {
		stop, ticks := errors.New("stop"), 0
		c.Tick = func() error {
			if ticks++; ticks == 2 {
				return stop
			}
			return nil
		}
		begin := time.Now()
		if _, err := c.Read(make([]byte, 1)); !errors.Is(err, stop) {
			t.Errorf("got %v, want the tick's error", err)
		}
		if d := time.Since(begin); d < TickInterval || d > 4*TickInterval {
			t.Errorf("two ticks took %v", d)
		}
	})
}

func TestReadWithinIsNotProlongedByTicks(t *testing.T) {
	both(t, func(t *testing.T, c *Conn, _ halfCloser) {
		c.Tick = func() error { return nil }
		c.ReadWithin(TickInterval + 50*time.Millisecond)
		begin := time.Now()
		if _, err := c.Read(make([]byte, 1)); !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("got %v, want a timeout", err)
		}
		if d := time.Since(begin); d > 3*TickInterval {
			t.Errorf("it took %v", d)
		}
	})
}

func TestInterruptAndResume(t *testing.T) {
	both(t, func(t *testing.T, c *Conn, peer halfCloser) {
		waiting := make(chan error)
		go func() {
			_, err := c.Read(make([]byte, 1))
			waiting <- err
		}()
		c.Interrupt()
		if err := <-waiting; !errors.Is(err, ErrInterrupted) {
			t.Errorf("got %v, want %v", err, ErrInterrupted)
		}
		if _, err := c.Write([]byte("x")); err != nil {
			t.Errorf("writing: %v", err)
		}
		if _, err := c.Read(make([]byte, 1)); !errors.Is(err, ErrInterrupted) {
			t.Errorf("a later read: %v", err)
		}
		c.Resume()
		peer.Write([]byte("y"))
		if n, err := c.Read(make([]byte, 1)); n != 1 || err != nil {
			t.Errorf("after resuming: %v", err)
		}
	})
}

func TestCloseEndsARead(t *testing.T) {
	both(t, func(t *testing.T, c *Conn, _ halfCloser) {
		waiting := make(chan error)
		go func() {
			_, err := c.Read(make([]byte, 1))
			waiting <- err
		}()
		c.Close()
		if err := <-waiting; !errors.Is(err, net.ErrClosed) {
			t.Errorf("got %v, want %v", err, net.ErrClosed)
		}
	})
}

func TestNoWait(t *testing.T) {
	both(t, func(t *testing.T, c *Conn, peer halfCloser) {
		c.NoWait = true
		if _, err := c.Read(make([]byte, 1)); !errors.Is(err, ErrWouldBlock) {
			t.Errorf("got %v, want %v", err, ErrWouldBlock)
		}
		peer.Write([]byte("x"))
		if err := c.WaitReadable(); err != nil && !errors.Is(err, ErrWouldBlock) {
			t.Fatal(err)
		}
		c.NoWait = false
		if err := c.WaitReadable(); err != nil {
			t.Fatal(err)
		}
		if n, err := c.Read(make([]byte, 1)); n != 1 || err != nil {
			t.Errorf("got %d, %v", n, err)
		}
		peer.Close()
		if err := c.WaitReadable(); err != nil {
			t.Errorf("the end of the stream is something to read: %v", err)
		}
	})
}

func TestLeaseIsTakenOnlyWhenThereIsSomething(t *testing.T) {
	both(t, func(t *testing.T, c *Conn, peer halfCloser) {
		var b Buffers
		peer.Write([]byte("hello"))
		buf, n, err := c.ReadLease(&b)
		if err != nil || string(buf[:n]) != "hello" || len(buf) != BufferSize {
			t.Fatalf("got %q, %v", buf[:n], err)
		}
		b.Put(buf)
		peer.Close()
		if buf, _, err := c.ReadLease(&b); !errors.Is(err, io.EOF) || buf != nil {
			t.Errorf("got a buffer of %d bytes, %v; want none and %v", len(buf), err, io.EOF)
		}
	})
}

func TestHeldBytesGoWithTheNextRead(t *testing.T) {
	both(t, func(t *testing.T, c *Conn, peer halfCloser) {
		for i := range 3 {
			c.Hold(i > 0)
			c.Write([]byte("que"))
			c.Write([]byte("stion"))
			c.Release()
			answered := make(chan string)
			go func() {
				b := make([]byte, 8)
				io.ReadFull(peer, b)
				peer.Write([]byte("answer"))
				answered <- string(b)
			}()
			b := make([]byte, 16)
			n, err := c.Read(b)
			if err != nil || string(b[:n]) != "answer" || <-answered != "question" {
				t.Fatalf("got %q, %v", b[:n], err)
			}
		}
	})
}

func TestHeldBytesThatDoNotFitTheSocket(t *testing.T) {
	both(t, func(t *testing.T, c *Conn, peer halfCloser) {
		sent := make([]byte, 8<<20)
		rand.Read(sent)
		c.Hold(true)
		c.Write(sent)
		c.Release()
		same := make(chan bool)
		go func() {
			b := make([]byte, len(sent))
			io.ReadFull(peer, b)
			peer.Write([]byte("x"))
			same <- bytes.Equal(b, sent)
		}()
		if _, err := c.Read(make([]byte, 1)); err != nil {
			t.Fatal(err)
		}
		if !<-same {
			t.Error("what arrived differs")
		}
	})
}

func TestStaleConnectionIsNotWrittenTo(t *testing.T) {
	spoil := map[string]func(peer halfCloser){
		"closed":        func(p halfCloser) { p.Close() },
		"half-closed":   func(p halfCloser) { p.CloseWrite() },
		"unasked bytes": func(p halfCloser) { p.Write([]byte("x")) },
	}
	for name, spoil := range spoil {
		t.Run(name, func(t *testing.T) {
			both(t, func(t *testing.T, c *Conn, peer halfCloser) {
				spoil(peer)
				if c.Quiet() {
					t.Error("it counts as quiet")
				}
				c.Hold(true)
				c.Write([]byte("question"))
				c.Release()
				if _, err := c.Read(make([]byte, 1)); !errors.Is(err, ErrStale) || c.Written() != 0 {
					t.Errorf("got %v with %d bytes written, want %v with none", err, c.Written(), ErrStale)
				}
			})
		})
	}
}

func TestPresence(t *testing.T) {
	t.Run("unix", func(t *testing.T) {
		c, peer := connect(t, "unix", pairs["unix"])
		expect(t, c, Present)
		peer.Write([]byte("unread"))
		expect(t, c, Present)
		peer.CloseWrite()
		expect(t, c, HalfClosed)
		peer.Close()
		expect(t, c, Gone)
	})
	t.Run("tcp", func(t *testing.T) {
		c, peer := connect(t, "tcp", pairs["tcp"])
		expect(t, c, Present)
		peer.CloseWrite()
		expect(t, c, HalfClosed)
		peer.(*net.TCPConn).SetLinger(0)
		peer.Close()
		expect(t, c, Gone)
		c.Close()
		expect(t, c, Gone)
	})
}

func expect(t *testing.T, c *Conn, want Presence) {
	t.Helper()
	if got := c.Peer(); got != want {
		t.Errorf("got %d, want %d", got, want)
	}
}

func TestReset(t *testing.T) {
	c, peer := connect(t, "tcp", pairs["tcp"])
	c.Write([]byte("part"))
	c.Reset()
	if _, err := io.ReadAll(peer); err == nil {
		t.Error("the peer takes a reset for the end of the stream")
	}
}

func TestReadAndWriteDoNotAllocate(t *testing.T) {
	c, peer := connect(t, "tcp", pairs["tcp"])
	p, err := New(peer)
	if err != nil {
		t.Fatal(err)
	}
	b, tick := make([]byte, 100), func() error { return nil }
	n := testing.AllocsPerRun(200, func() {
		p.Write(b)
		c.Tick = tick
		c.ReadWithin(time.Minute)
		c.Hold(true)
		c.Read(b)
		c.Release()
		c.WriteWithin(time.Minute)
		c.Write(b)
		p.Read(b)
	})
	if n > 0 {
		t.Errorf("%v allocations for a question and its answer, want none", n)
	}
}

func TestOtherKindsOfConnectionAreRefused(t *testing.T) {
	a, b := net.Pipe()
	defer a.Close()
	defer b.Close()
	if _, err := New(a); err == nil {
		t.Error("a pipe was accepted")
	}
}
