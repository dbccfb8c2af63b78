package journal

import (
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/mtlsproxy/mtlsproxy/tlsclient/tlstest/leak"
)

// start is when the records of the tests begin.
var start = time.Date(2026, 5, 4, 13, 0, 0, 0, time.UTC)

// A traffic makes records as a busy host has them: some callers, routes and upstreams,
// paths with numbers in them, now and then an error.
type traffic struct {
	rand *rand.Rand
	n    uint64
	now  time.Time
	step time.Duration // between two records
	pad  int           // random characters at the end of paths
}

func newTraffic(seed uint64) *traffic {
	return &traffic{rand: rand.New(rand.NewPCG(seed, 1)), now: start, step: 20 * time.Microsecond}
}

var (
	routeNames = []string{"billing", "ledger", "search", "mail", "users"}
	methods    = [][]byte{[]byte("GET"), []byte("GET"), []byte("GET"), []byte("POST"), []byte("PUT")}
)

// next makes the next record. Its bytes are good until the call after.
func (t *traffic) next(r *Record) {
	t.n++
	t.now = t.now.Add(t.step)
	which := t.rand.IntN(len(routeNames))
	first := time.Duration(t.rand.ExpFloat64()*3e6) + 200*time.Microsecond
	*r = Record{
		Time:      t.now,
		ID:        fmt.Appendf(r.ID[:0], "7f3a90c1d2e4%012x", t.n),
		Listener:  "http",
		Caller:    int64(1000 + t.rand.IntN(6)),
		Route:     routeNames[which],
		Upstream:  routeNames[which],
		Endpoint:  routeNames[which] + "-1.internal:8443",
		Method:    methods[t.rand.IntN(len(methods))],
		Host:      []byte("billing.local"),
		Path:      fmt.Appendf(r.Path[:0], "/v1/%s/accounts/%d/items", routeNames[which], t.rand.IntN(1_000_000)),
		Status:    200,
		BytesIn:   int64(200 + t.rand.IntN(400)),
		BytesOut:  int64(300 + t.rand.IntN(20000)),
		FirstByte: first,
		Total:     first + time.Duration(t.rand.IntN(300))*time.Microsecond,
		Attempts:  1, Reused: true, TLS: 0x0304, Serial: "4f1b2c3d4e5f60718293a4b5c6d7e8f9", Generation: 3,
	}
	for range t.pad {
		r.Path = append(r.Path, "0123456789abcdef"[t.rand.IntN(16)])
	}
	switch t.rand.IntN(1000) {
	case 0:
		r.Status, r.Class, r.Fault = 502, "upstream_reset", "upstream"
	case 1:
		r.Status = 404
	case 2:
		r.Status, r.Class, r.Fault, r.Caller = 403, "caller_denied", "client", NoCaller
	}
}

// open opens a log in dir, which the test's end closes.
func open(t testing.TB, o Options) *Log {
	t.Helper()
	if o.Log == nil {
		o.Log = slog.New(slog.NewTextHandler(testWriter{t}, &slog.HandlerOptions{Level: slog.LevelDebug}))
	}
	if o.flushAfter == 0 {
		o.flushAfter = 10 * time.Millisecond
	}
	l := Open(o)
	t.Cleanup(func() { l.Close() })
	return l
}

type testWriter struct{ t testing.TB }

func (w testWriter) Write(b []byte) (int, error) {
	w.t.Log(strings.TrimSpace(string(b)))
	return len(b), nil
}

// eventually waits for something that another goroutine brings about.
func eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	deadline := time.NewTimer(20 * time.Second)
	defer deadline.Stop()
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for !ok() {
		select {
		case <-tick.C:
		case <-deadline.C:
			t.Fatalf("not so after 20 s: %s", what)
		}
	}
}

// fill adds n records and waits until they are on disk.
func fill(t testing.TB, l *Log, tr *traffic, n int) {
	t.Helper()
	want := l.Stats().Written + uint64(n)
	var r Record
	for i := range n {
		if i%512 == 0 {
			eventually(t, "there is room in the buffer", func() bool {
				s := l.Stats()
				return s.BufferUsed < s.Buffer*3/4
			})
		}
		tr.next(&r)
		l.Add(&r)
	}
	eventually(t, "the records are written", func() bool { return l.Stats().Written+l.Stats().Dropped >= want })
	if d := l.Stats().Dropped; d > 0 {
		t.Fatalf("%d records were dropped", d)
	}
}

// query returns copies of what is found.
func query(t testing.TB, l *Log, q Query) []Record {
	t.Helper()
	var out []Record
	err := l.Query(context.Background(), q, func(r *Record) error {
		out = append(out, clone(r))
		return nil
	})
	if err != nil {
		t.Fatalf("query: %v", err)
	}
	return out
}

func clone(r *Record) Record {
	c := *r
	c.ID, c.Method = append([]byte{}, r.ID...), append([]byte{}, r.Method...)
	c.Host, c.Path = append([]byte{}, r.Host...), append([]byte{}, r.Path...)
	return c
}

func TestMain(m *testing.M) {
	if dir := os.Getenv(childVariable); dir != "" {
		writeUntilKilled(dir)
	}
	leak.Main(m)
}
