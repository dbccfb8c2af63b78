package service_test

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"runtime/debug"
	"runtime/metrics"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/mtlsproxy/mtlsproxy/service"
	"github.com/mtlsproxy/mtlsproxy/service/config"
	"github.com/mtlsproxy/mtlsproxy/tlsclient/tlstest"
	"github.com/mtlsproxy/mtlsproxy/tlsclient/tlstest/leak"
)

// allocsEnv makes the test binary a daemon that counts its allocations; its value are the --set values.
const allocsEnv = "MTLSPROXY_TEST_ALLOCS"

// filesEnv bounds the descriptors of that daemon.
const filesEnv = "MTLSPROXY_TEST_FILES"

// countingDaemon serves and, for each line on its standard input, prints how many objects it has allocated so far. In a
// process of its own, the count is that of the daemon and of nothing else.
func countingDaemon(set []string) error {
	if files, err := strconv.ParseUint(os.Getenv(filesEnv), 10, 64); err == nil {
		if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &syscall.Rlimit{Cur: files, Max: files}); err != nil {
			return err
		}
	}
	debug.SetGCPercent(-1) // a collection would empty the pools: true enough, but not the steady state
	conf, err := config.Load(config.Options{Set: set})
	if err != nil {
		return err
	}
	s, err := service.Build(service.Options{Config: conf, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		return err
	}
	if err := s.Listen(); err != nil {
		return err
	}
	go s.Run(make(chan os.Signal), nil) // ends with the process
	fmt.Println(s.Addresses()[0])
	sample := []metrics.Sample{{Name: "/gc/heap/allocs:objects"}}
	for in := bufio.NewScanner(os.Stdin); in.Scan(); {
		metrics.Read(sample)
		fmt.Println(sample[0].Value.Uint64())
	}
	return nil
}

// countingSet are the --set values of such a daemon.
func countingSet(t *testing.T, p *pki) []string {
	upstream := tlstest.NewServer(t, tlstest.ServerOptions{CA: p.ca, Script: rawOK})
	return []string{
		`listener.http.address=["127.0.0.1:0"]`,
		"identity.default.cert=" + p.files.Cert, "identity.default.key=" + p.files.Key, "identity.default.ca=" + p.files.CA,
		`upstream.default.endpoints=["` + upstream.Addr + `"]`,
		`route.default.host=["*"]`, "route.default.upstream=default", `route.default.callers=["any"]`,
		"log.directory=" + t.TempDir(), "admin.address=none",
	}
}

func TestBodylessExchangeHardlyAllocates(t *testing.T) {
	leak.Check(t)
	hardlyAllocates(t, countingSet(t, newPKI(t)))
}

func TestCallersAndLimitsHardlyAllocate(t *testing.T) {
	leak.Check(t)
	hardlyAllocates(t, append(countingSet(t, newPKI(t)),
		fmt.Sprintf(`route.default.callers=["gid:%d"]`, os.Getegid()), "limits.connections_per_caller=10",
		"route.default.limit.rate=1000000/s", "route.default.limit.per=header:User-Agent", "route.default.limit.in_flight=10",
		"route.default.limit.per_caller=5", "route.default.limit.queue=10", "route.default.limit.body=1MiB"))
}

func hardlyAllocates(t *testing.T, set []string) {
	t.Helper()
	if raceEnabled {
		t.Skip("SKIP: the race detector allocates")
	}
	d := startCounting(t, set)
	conn, err := net.Dial("tcp", d.address)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	const warm, n = 300, 2000
	d.exchanges(conn, warm)
	idle := d.allocs()
	idle = d.allocs() - idle // what asking costs
	before := d.allocs()
	d.exchanges(conn, n)
	each := (float64(d.allocs()-before) - float64(idle)) / n
	t.Logf("%.3f allocations for each exchange", each)
	if each > 2 {
		t.Errorf("%.2f allocations for each exchange, want at most 2", each)
	}
}

// rawOK answers everything that ends in an empty line, without any parsing.
func rawOK(c *tlstest.Conn) {
	b := make([]byte, 4096)
	for {
		n, err := c.R.Read(b)
		if err != nil {
			return
		}
		if bytes.HasSuffix(b[:n], []byte("\r\n\r\n")) && c.Write(tlstest.OK) != nil {
			return
		}
	}
}

// counting is a daemon in another process.
type counting struct {
	tb      testing.TB
	in      io.Writer
	out     *bufio.Scanner
	address string
}

func startCounting(t *testing.T, set []string, env ...string) *counting {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(self)
	cmd.Env = append(append(os.Environ(), allocsEnv+"="+strings.Join(set, "\n")), env...)
	cmd.Stderr = os.Stderr
	in, inErr := cmd.StdinPipe()
	out, outErr := cmd.StdoutPipe()
	if inErr != nil || outErr != nil {
		t.Fatal(inErr, outErr)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		in.Close() // ends it
		if err := cmd.Wait(); err != nil {
			t.Errorf("the daemon ended with %v", err)
		}
	})
	d := &counting{tb: t, in: in, out: bufio.NewScanner(out)}
	d.address = d.line()
	return d
}

func (d *counting) line() string {
	d.tb.Helper()
	if !d.out.Scan() {
		d.tb.Fatal("the daemon says nothing")
	}
	return d.out.Text()
}

func (d *counting) allocs() (n uint64) {
	d.tb.Helper()
	io.WriteString(d.in, "\n")
	if _, err := fmt.Sscan(d.line(), &n); err != nil {
		d.tb.Fatal(err)
	}
	return n
}

// exchanges performs n requests on the connection, each with its answer in one piece.
func (d *counting) exchanges(conn net.Conn, n int) {
	d.tb.Helper()
	conn.SetDeadline(time.Now().Add(6 * patience))
	request := []byte("GET /some/path?q=1 HTTP/1.1\r\nHost: api.test\r\nUser-Agent: test\r\nAccept: */*\r\nConnection: keep-alive\r\n\r\n")
	b := make([]byte, 4096)
	for range n {
		if _, err := conn.Write(request); err != nil {
			d.tb.Fatal(err)
		}
		if k, err := conn.Read(b); err != nil || !bytes.HasSuffix(b[:k], []byte("\r\n\r\nok")) {
			d.tb.Fatalf("received %q, %v", b[:k], err)
		}
	}
}
