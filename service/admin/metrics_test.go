package admin

import (
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/mtlsproxy/mtlsproxy/service/caller"
)

var discard = slog.New(slog.DiscardHandler)

const secret = "0123456789abcdef0123456789abcdef"

func token(t *testing.T, content string, mode os.FileMode) (Token, error) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(path, mode); err != nil {
		t.Fatal(err)
	}
	return ReadToken(path)
}

// scraped is a metrics server on TCP. who decides what it takes the client for.
func scraped(t *testing.T, who func(net.Conn) (caller.Caller, error)) (s *MetricsServer, get func(header ...string) (*http.Response, string)) {
	t.Helper()
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s = NewMetrics(MetricsOptions{
		Metrics: func(w io.Writer) error { _, err := io.WriteString(w, "mtlsproxy_up 1\n"); return err },
		Log:     discard, Who: who,
	})
	served := make(chan error, 1)
	go func() { served <- s.Serve(l) }()
	transport := &http.Transport{DisableKeepAlives: true}
	t.Cleanup(func() {
		s.Close()
		if err := <-served; err != nil {
			t.Errorf("Serve returned %v", err)
		}
	})
	return s, func(header ...string) (*http.Response, string) {
		t.Helper()
		req, err := http.NewRequestWithContext(t.Context(), "GET", "http://"+l.Addr().String()+"/metrics", nil)
		if err != nil {
			t.Fatal(err)
		}
		for i := 0; i < len(header); i += 2 {
			req.Header.Set(header[i], header[i+1])
			if header[i] == "Host" {
				req.Host = header[i+1]
			}
		}
		resp, err := transport.RoundTrip(req)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		b, err := io.ReadAll(resp.Body)
		if err != nil {
			t.Fatal(err)
		}
		return resp, string(b)
	}
}

func is(uid uint32) func(net.Conn) (caller.Caller, error) {
	return func(net.Conn) (caller.Caller, error) { return caller.Caller{UID: uid}, nil }
}

func TestMetricsAreForThoseWithTheToken(t *testing.T) {
	known, err := token(t, secret+"\n", 0o440)
	if err != nil {
		t.Fatal(err)
	}
	s, get := scraped(t, is(stranger))
	s.Use(MetricsAccess{Token: known})
	for header, want := range map[string]int{
		"Bearer " + secret:           200,
		"bearer " + secret:           200,
		"Bearer  " + secret:          200,
		"Bearer " + secret[1:]:       401,
		"Bearer " + secret + "0":     401,
		"Bearer ":                    401,
		"Basic " + secret:            401,
		secret:                       401,
		"Bearer" + secret:            401,
		"Bearer " + secret + ", xyz": 401,
		"":                           401,
	} {
		resp, body := get("Authorization", header)
		if resp.StatusCode != want {
			t.Errorf("%q: %s %s, want %d", header, resp.Status, body, want)
		}
		if want == 200 && (body != "mtlsproxy_up 1\n" || !strings.HasPrefix(resp.Header.Get("Content-Type"), "text/plain; version=0.0.4")) {
			t.Errorf("%q: %q as %s", header, body, resp.Header.Get("Content-Type"))
		}
		if challenge := resp.Header.Get("WWW-Authenticate"); want == 401 && (!strings.HasPrefix(challenge, "Bearer ") || !strings.Contains(body, "unauthenticated")) {
			t.Errorf("%q: WWW-Authenticate %q: %s", header, challenge, body)
		}
	}
}

func TestMetricsAreForCallersThatAreAllowed(t *testing.T) {
	known, err := token(t, secret, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	allowed := set(t, "uid:1001")
	nobody := func(net.Conn) (caller.Caller, error) { return caller.Caller{}, errors.New("from elsewhere") }
	for name, c := range map[string]struct {
		who    func(net.Conn) (caller.Caller, error)
		access MetricsAccess
		want   int
	}{
		"allowed":                      {is(reader), MetricsAccess{Callers: allowed}, 200},
		"allowed, without the token":   {is(reader), MetricsAccess{Callers: allowed, Token: known}, 200},
		"not allowed":                  {is(stranger), MetricsAccess{Callers: allowed}, 403},
		"not allowed, could authorise": {is(stranger), MetricsAccess{Callers: allowed, Token: known}, 401},
		"root":                         {is(0), MetricsAccess{}, 200},
		"nothing is configured":        {is(stranger), MetricsAccess{}, 403},
		"not known":                    {nobody, MetricsAccess{Callers: set(t, "any")}, 403},
	} {
		t.Run(name, func(t *testing.T) {
			s, get := scraped(t, c.who)
			s.Use(c.access)
			if resp, body := get(); resp.StatusCode != c.want {
				t.Errorf("%s %s, want %d", resp.Status, body, c.want)
			}
		})
	}
}

func TestTheZeroTokenMatchesNothing(t *testing.T) {
	for _, shown := range []string{"", "x", secret} {
		if (Token{}).matches(shown) {
			t.Errorf("it matches %q", shown)
		}
	}
}

func TestMetricsSeeTheOwnerOfTheSocket(t *testing.T) {
	_, get := scraped(t, nil)
	if resp, body := get(); resp.StatusCode != http.StatusOK {
		t.Errorf("the daemon's own user: %s %s", resp.Status, body)
	}
}

func TestMetricsRefuseWhatABrowserCouldSend(t *testing.T) {
	_, get := scraped(t, is(0))
	for header, want := range map[[2]string]int{
		{"Host", "localhost"}:               200,
		{"Host", "LOCALHOST:9100"}:          200,
		{"Host", "127.0.0.1"}:               200,
		{"Host", "127.9.9.9:1"}:             200,
		{"Host", "[::1]:9100"}:              200,
		{"Host", "[::1]"}:                   200,
		{"Host", "attacker.example"}:        403,
		{"Host", "localhost.attacker.test"}: 403,
		{"Host", "127.0.0.1.attacker.test"}: 403,
		{"Host", "192.0.2.1:9100"}:          403,
		{"Origin", "http://attacker.test"}:  403,
		{"Origin", "null"}:                  403,
		{"Sec-Fetch-Site", "cross-site"}:    403,
		{"Sec-Fetch-Site", "none"}:          200,
	} {
		if resp, body := get(header[0], header[1]); resp.StatusCode != want {
			t.Errorf("%s: %s: %s %s, want %d", header[0], header[1], resp.Status, body, want)
		}
	}
}

func TestMetricsServerHasNothingElse(t *testing.T) {
	s, _ := scraped(t, is(0))
	if rows := len(s.engine.routes); rows != 1 || s.engine.routes["/metrics"] == nil {
		t.Errorf("%d paths", rows)
	}
}

func TestReadTokenRefuses(t *testing.T) {
	for name, c := range map[string]struct {
		content string
		mode    os.FileMode
		says    string
	}{
		"readable by others":  {secret, 0o644, "chmod o="},
		"writable by others":  {secret, 0o602, "chmod o="},
		"empty":               {"", 0o600, "openssl rand"},
		"white space":         {" \n\t\n", 0o600, "shorter"},
		"too short":           {secret[:minToken-1], 0o600, "shorter"},
		"two lines":           {secret + "\n" + secret, 0o600, "characters"},
		"not ASCII":           {secret + "é", 0o600, "characters"},
		"longer than a token": {strings.Repeat("x", maxToken+1), 0o600, "longer"},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := token(t, c.content, c.mode)
			if err == nil || !strings.Contains(err.Error(), c.says) || got != (Token{}) {
				t.Errorf("got %v, %v; want an error with %q", got, err, c.says)
			}
			if err != nil && strings.Contains(err.Error(), secret) {
				t.Errorf("the error tells the secret: %v", err)
			}
		})
	}
	fifo := filepath.Join(t.TempDir(), "fifo")
	if err := syscall.Mkfifo(fifo, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{fifo, t.TempDir(), "/nonexistent"} {
		if got, err := ReadToken(path); err == nil || got != (Token{}) {
			t.Errorf("%s: got %v, %v", path, got, err)
		}
	}
}
