package tlstest

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"io"
	"math/big"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/mtlsproxy/mtlsproxy/tlsclient/tlstest/leak"
)

func TestMain(m *testing.M) { leak.Main(m) }

func TestIdentities(t *testing.T) {
	t.Parallel()
	for _, intermediate := range []bool{false, true} {
		ca := NewCA(t, CAOptions{Intermediate: intermediate})
		for _, kind := range []KeyType{ECDSA, RSA, Ed25519} {
			id := ca.Issue(t, LeafOptions{CommonName: "app", KeyType: kind, URIs: []string{"spiffe://test/app"}})
			for _, key := range [][]byte{id.KeyPEM(), id.LegacyKeyPEM()} {
				if _, err := tls.X509KeyPair(id.CertPEM(), key); err != nil {
					t.Errorf("intermediate=%v key=%v: %v", intermediate, kind, err)
				}
			}
		}
	}
}

func TestExpiredLeafNeedsOnlyNotAfter(t *testing.T) {
	t.Parallel()
	ca := NewCA(t, CAOptions{})
	end := time.Now().Add(-3 * time.Hour)
	leaf := ca.Issue(t, LeafOptions{NotAfter: end}).Leaf
	if !leaf.NotBefore.Before(leaf.NotAfter) || leaf.NotAfter.After(end) {
		t.Fatalf("valid from %v to %v", leaf.NotBefore, leaf.NotAfter)
	}
}

func TestCRL(t *testing.T) {
	t.Parallel()
	ca := NewCA(t, CAOptions{Intermediate: true})
	block, _ := pem.Decode(ca.CRL(t, CRLOptions{Serials: []*big.Int{big.NewInt(77)}}))
	list, err := x509.ParseRevocationList(block.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	if err := list.CheckSignatureFrom(ca.Intermediate); err != nil {
		t.Error(err)
	}
	if len(list.RevokedCertificateEntries) != 1 || list.RevokedCertificateEntries[0].SerialNumber.Int64() != 77 {
		t.Errorf("entries %v, want serial 77", list.RevokedCertificateEntries)
	}
}

func TestWriteFiles(t *testing.T) {
	t.Parallel()
	ca := NewCA(t, CAOptions{})
	files := ca.Client(t, "app").WriteFiles(t, "", ca)
	for path, want := range map[string]os.FileMode{files.Cert: 0o644, files.Key: 0o600, files.CA: 0o644} {
		info, err := os.Stat(path)
		if err != nil {
			t.Fatal(err)
		}
		if info.Mode().Perm() != want {
			t.Errorf("%s has mode %v, want %v", path, info.Mode().Perm(), want)
		}
	}
}

// client returns an HTTP client that presents id and trusts ca.
func client(t *testing.T, ca *CA, id *Identity) *http.Client {
	config := &tls.Config{RootCAs: ca.Pool(), ClientSessionCache: tls.NewLRUClientSessionCache(8)}
	if id != nil {
		config.Certificates = []tls.Certificate{id.TLS()}
	}
	transport := &http.Transport{TLSClientConfig: config}
	t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: transport, Timeout: 5 * time.Second}
}

// get returns the status and body of a GET, and the first error on the way.
func get(t *testing.T, c *http.Client, url string) (int, string, error) {
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	response, err := c.Do(request)
	if err != nil {
		return 0, "", err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	return response.StatusCode, string(body), err
}

func TestServerRecords(t *testing.T) {
	leak.Check(t)
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		ca := NewCA(t, CAOptions{Intermediate: true})
		id := ca.Client(t, "app")
		s := NewServer(t, ServerOptions{CA: ca, Version: version, Script: Static(OK), KeepBytes: true})
		c := client(t, ca, id)
		for range 2 {
			request, _ := http.NewRequestWithContext(t.Context(), http.MethodPost, s.URL+"/x?y", strings.NewReader("hello"))
			request.Header.Set(IDHeader, "42")
			response, err := c.Do(request)
			if err != nil {
				t.Fatal(err)
			}
			io.Copy(io.Discard, response.Body)
			response.Body.Close()
			c.CloseIdleConnections() // so that the second request resumes the session
			s.Wait(t, "the connection to close", func(st Stats) bool { return st.Open == 0 })
		}
		if got := s.Stats(); got.Handshakes != 2 || got.Resumed != 1 || got.Requests != 2 || got.Accepted != 2 {
			t.Errorf("%s: stats %+v", tls.VersionName(version), got)
		}
		seen := s.Requests()[0]
		if seen.Method != "POST" || seen.Target != "/x?y" || string(seen.Body) != "hello" || s.Count("42") != 2 {
			t.Errorf("seen %+v, count %d", seen, s.Count("42"))
		}
		if raw := string(s.Received()); strings.Count(raw, "POST /x?y HTTP/1.1\r\n") != 2 || !strings.HasSuffix(raw, "\r\n\r\nhello") {
			t.Errorf("received %q", raw)
		}
		if serials := s.Serials(); len(serials) != 2 || serials[0] != id.Serial() {
			t.Errorf("serials %v, want twice %s", serials, id.Serial())
		}
	}
}

func TestServerRefusesStrangers(t *testing.T) {
	leak.Check(t)
	ca, other := NewCA(t, CAOptions{}), NewCA(t, CAOptions{})
	s := NewServer(t, ServerOptions{CA: ca})
	for name, id := range map[string]*Identity{"none": nil, "foreign": other.Client(t, "app")} {
		if status, _, err := get(t, client(t, ca, id), s.URL); err == nil {
			t.Errorf("client certificate %s: status %d, want an error", name, status)
		}
	}
	s.Wait(t, "both handshakes to fail", func(st Stats) bool { return st.Failed == 2 })
}

func TestHTTPServer(t *testing.T) {
	leak.Check(t)
	ca := NewCA(t, CAOptions{})
	s := NewHTTPServer(t, ca, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		io.WriteString(w, r.TLS.PeerCertificates[0].Subject.CommonName)
	}))
	c := client(t, ca, ca.Client(t, "app"))
	for range 2 {
		if status, body, err := get(t, c, s.URL); status != 200 || body != "app" || err != nil {
			t.Fatalf("%d %q %v", status, body, err)
		}
	}
	if st := s.Stats(); st.Accepted != 1 || st.Requests != 2 {
		t.Errorf("stats %+v, want one connection with two requests", st)
	}
}

func TestScripts(t *testing.T) {
	leak.Check(t)
	ca := NewCA(t, CAOptions{})
	id := ca.Client(t, "app")
	for name, test := range map[string]struct {
		script Script
		status int    // 0: no response at all
		body   string // as far as it got
		cut    bool   // reading the body fails
	}{
		"static":             {script: Static(OK), status: 200, body: "ok"},
		"slow":               {script: Slow(100*time.Microsecond, OK), status: 200, body: "ok"},
		"early":              {script: Early(Response(413, "no"), true), status: 413, body: "no"},
		"continue":           {script: Continue(OK), status: 200, body: "ok"},
		"surplus":            {script: Surplus(OK, "HTTP/1.1 500 Oops\r\n\r\n"), status: 200, body: "ok"},
		"informational":      {script: Informational(3, OK), status: 200, body: "ok"},
		"echo":               {script: Echo(), status: 200},
		"close idle":         {script: CloseIdle(OK, CloseNotify), status: 200, body: "ok"},
		"per connection":     {script: PerConnection(CloseAtOnce(Reset), Static(OK)), status: 0},
		"per request":        {script: PerRequest(CloseNotify, OK), status: 200, body: "ok"},
		"close at once":      {script: CloseAtOnce(CloseNotify)},
		"close before":       {script: CloseBeforeResponse(TCPClose)},
		"close within head":  {script: CloseWithinHead(CloseNotify)},
		"close after head":   {script: CloseAfterHead(CloseNotify), status: 200, cut: true},
		"truncate":           {script: TruncateBody(3, TCPClose), status: 200, body: "xxx", cut: true},
		"truncate chunked":   {script: TruncateChunked(3, CloseNotify), status: 200, body: "xxx", cut: true},
		"reset":              {script: ResetMidBody(0), status: 200, cut: true},
		"until close_notify": {script: UntilClose(3, CloseNotify), status: 200, body: "xxx"},
	} {
		t.Run(name, func(t *testing.T) {
			s := NewServer(t, ServerOptions{CA: ca, Script: test.script})
			status, body, err := get(t, client(t, ca, id), s.URL)
			if name == "reset" && status == 0 {
				return // the reset may overtake the head
			}
			if status != test.status || body != test.body || (err != nil) != (test.cut || test.status == 0) {
				t.Errorf("status %d, body %q, error %v", status, body, err)
			}
		})
	}
}

func TestUpstreamsWithoutUsableHandshake(t *testing.T) {
	leak.Check(t)
	ca := NewCA(t, CAOptions{})
	for name, opts := range map[string]ServerOptions{
		"plaintext": {BeforeHandshake: Plaintext("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")},
		"stall":     {BeforeHandshake: Stall},
		"refused":   {RefuseClient: true, Version: tls.VersionTLS13},
		"silent":    {Script: NeverAnswer()},
	} {
		t.Run(name, func(t *testing.T) {
			opts.CA = ca
			c := client(t, ca, ca.Client(t, "app"))
			c.Timeout = 100 * time.Millisecond
			if status, _, err := get(t, c, NewServer(t, opts).URL); err == nil {
				t.Errorf("status %d, want an error", status)
			}
		})
	}
}
