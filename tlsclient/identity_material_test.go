package tlsclient_test

import (
	"bytes"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/mtlsproxy/mtlsproxy/tlsclient"
	"github.com/mtlsproxy/mtlsproxy/tlsclient/tlstest"
)

// materialOf is what the files of an identity would hold.
func materialOf(id *tlstest.Identity, ca *tlstest.CA) *tlsclient.Material {
	return &tlsclient.Material{Cert: id.CertPEM(), Key: id.KeyPEM(), CA: ca.PEM()}
}

// What was never in a file can be tried, and is checked as what is.
func TestMaterialThatNeverWasInFiles(t *testing.T) {
	ca := tlstest.NewCA(t, tlstest.CAOptions{})
	client := ca.Client(t, "client")
	id := tlsclient.Identity{Name: "default", Cert: "/c", Key: "/k", CA: "/a"}
	m := materialOf(client, ca)
	if g, err := id.Make(m, 3, time.Now()); err != nil || g.Serial() != client.Serial() || g.Number != 3 {
		t.Fatalf("got %v, want generation 3 with serial %s", err, client.Serial())
	}
	m.Key = ca.Client(t, "client").KeyPEM()
	_, err := id.Make(m, 4, time.Now())
	failure{tlsclient.ReasonMismatch, "/k", `key "/k" does not belong to the certificate in "/c"`}.check(t, err)
	_, err = id.Make(new(tlsclient.Material), 4, time.Now())
	failure{tlsclient.ReasonEmpty, "/c", "/a"}.check(t, err)
}

// Staged bytes are wiped when they are dropped; what was made of them must live on.
func TestGenerationSharesNoMemoryWithItsMaterial(t *testing.T) {
	f := startServer(t, tlstest.ServerOptions{Script: tlstest.Static(tlstest.OK)})
	m := materialOf(f.ca.Client(t, "client"), f.ca)
	m.CRL = f.ca.CRL(t, tlstest.CRLOptions{})
	g, err := tlsclient.Identity{Name: "default", Cert: "/c", Key: "/k", CA: "/a", CRL: "/r"}.Make(m, 2, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	for _, b := range [][]byte{m.Cert, m.Key, m.CA, m.CRL} {
		clear(b)
	}
	f.upstream.Use(g)
	f.do(f.request("GET")).expect(t, 200, "ok")
}

// The serial on disk is known although the rest cannot be used.
func TestLeafOfUnusableMaterial(t *testing.T) {
	ca := tlstest.NewCA(t, tlstest.CAOptions{Intermediate: true})
	expired := ca.Issue(t, tlstest.LeafOptions{NotAfter: time.Now().Add(-time.Hour)})
	serial := func(m *tlsclient.Material) string {
		if c := m.Leaf(); c != nil {
			return fmt.Sprintf("%x", c.SerialNumber)
		}
		return ""
	}
	for name, cert := range map[string][]byte{
		"expired":                  expired.CertPEM(),
		"cut short after the leaf": expired.CertPEM()[:len(expired.CertPEM())-100],
		"garbage and a key before": slices.Concat([]byte("garbage\n"), expired.KeyPEM(), expired.CertPEM()),
		"what cannot be parsed before": slices.Concat([]byte("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"),
			expired.CertPEM()),
	} {
		if got := serial(&tlsclient.Material{Cert: cert}); got != expired.Serial() {
			t.Errorf("%s: got %q, want %s", name, got, expired.Serial())
		}
	}
	for name, m := range map[string]*tlsclient.Material{"nothing": {}, "garbage": {Cert: garbage(1000)}, "garbage for a store": {PKCS12: garbage(1000)}} {
		if got := serial(m); got != "" {
			t.Errorf("%s: got %s, want none", name, got)
		}
	}
	f := expired.WriteFiles(t, "", ca)
	id := identity(f)
	id.Key = "/nonexistent"
	m, err := id.Read()
	if got := serial(m); err == nil || got != expired.Serial() {
		t.Errorf("got %q beside %v, want %s: its file can be read", got, err, expired.Serial())
	}
}

// Load reports what is wrong with a file that can be read beside one that cannot, and
// no one twice.
func TestEveryFileHasItsError(t *testing.T) {
	ca := tlstest.NewCA(t, tlstest.CAOptions{})
	f := ca.Client(t, "client").WriteFiles(t, "", ca)
	tlstest.WriteFile(t, f.Cert, []byte("garbage"), 0o644)
	tlstest.WriteFile(t, f.CRL, nil, 0o644)
	id := identity(f)
	id.Key, id.CRL = "/nonexistent", f.CRL
	_, err := id.Load(1, time.Now())
	for _, path := range []string{f.Cert, id.Key, f.CRL} {
		if strings.Count(err.Error(), path) != 1 {
			t.Errorf("%v\nnames %s %d times, want once", err, path, strings.Count(err.Error(), path))
		}
	}
	if r := tlsclient.ReasonOf(err); r != tlsclient.ReasonMissing {
		t.Errorf("the reason of all is %s, want missing", r)
	}
}

func TestReasonOf(t *testing.T) {
	expired := &tlsclient.LoadError{Reason: tlsclient.ReasonExpired, Err: errors.New("expired")}
	mode := &tlsclient.LoadError{Reason: tlsclient.ReasonMode, Err: errors.New("mode")}
	for _, c := range []struct {
		err  error
		want tlsclient.Reason
	}{
		{nil, ""},
		{errors.New("x"), tlsclient.ReasonOther},
		{expired, tlsclient.ReasonExpired},
		{fmt.Errorf("identity: %w", errors.Join(expired, errors.New("x"), fmt.Errorf("y: %w", mode))), tlsclient.ReasonMode},
		{fmt.Errorf("%w and %w", errors.New("x"), expired), tlsclient.ReasonExpired},
	} {
		if got := tlsclient.ReasonOf(c.err); got != c.want {
			t.Errorf("%v: got %q, want %q", c.err, got, c.want)
		}
	}
}

func TestReasonsAreWords(t *testing.T) {
	seen := map[tlsclient.Reason]bool{}
	for _, r := range tlsclient.Reasons() {
		if seen[r] || r == "" || strings.Trim(string(r), "abcdefghijklmnopqrstuvwxyz_") != "" {
			t.Errorf("%q is no label, or is there twice", r)
		}
		seen[r] = true
	}
}

// A watcher looks after files, each once.
func TestFilesOfAnIdentity(t *testing.T) {
	for _, c := range []struct {
		id   tlsclient.Identity
		want []string
	}{
		{tlsclient.Identity{Cert: "/c", Key: "/k", CA: "/a"}, []string{"/c", "/k", "/a"}},
		{tlsclient.Identity{Cert: "/c", Key: "/k", Passphrase: "/p", CA: "/a", CRL: "/r"}, []string{"/c", "/k", "/p", "/a", "/r"}},
		{tlsclient.Identity{Cert: "/all", Key: "/all", CA: "/all"}, []string{"/all"}},
		{tlsclient.Identity{Cert: "/c", Key: "pkcs11:object=x?pin-source=/pin", SystemCA: true}, []string{"/c"}},
		{tlsclient.Identity{Cert: "/c", Key: "./pkcs11:x", CA: "/a"}, []string{"/c", "./pkcs11:x", "/a"}},
		{tlsclient.Identity{PKCS12: "/s", Passphrase: "/p", CA: "/a"}, []string{"/s", "/p", "/a"}},
		{tlsclient.Identity{}, nil},
	} {
		if got := c.id.Files(); !reflect.DeepEqual(got, c.want) {
			t.Errorf("got %q, want %q", got, c.want)
		}
	}
}

// Whoever logs a material by mistake gives nothing away.
func TestMaterialIsNotShown(t *testing.T) {
	m := &tlsclient.Material{Key: []byte("secret"), Passphrase: []byte("secret")}
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%d"} {
		if got := fmt.Sprintf(verb, m); got != "the material of an identity" {
			t.Errorf("%s shows %q", verb, got)
		}
	}
}

// Large garbage in any file is found to be that before anyone waits for it.
func TestGarbageIsCheckedQuickly(t *testing.T) {
	ca := tlstest.NewCA(t, tlstest.CAOptions{})
	client := ca.Client(t, "client")
	id := tlsclient.Identity{Name: "default", Cert: "/c", Key: "/k", CA: "/a", CRL: "/r"}
	for _, unit := range []string{
		"x", "-----BEGIN ", "-----BEGIN CERTIFICATE-----\n", "-----BEGIN CERTIFICATE-----\n-----END CERTIFICATE-----\n", "-----BEGIN X509 CRL-----\na:b\n",
		"-----END CERTIFICATE-----\n", "\x30\x80", "\x30\x84\x00\x6f\xff\xff", string(client.KeyPEM()), string(client.CertPEM()),
	} {
		data := bytes.Repeat([]byte(unit), 7<<20/len(unit))
		for name, m := range map[string]*tlsclient.Material{
			"every file":      {Cert: data, Key: data, CA: data, CRL: data},
			"the certificate": {Cert: data, Key: client.KeyPEM(), CA: ca.PEM(), CRL: ca.CRL(t, tlstest.CRLOptions{})},
		} {
			begin := time.Now()
			_, err := id.Make(m, 1, time.Now())
			m.Leaf()
			if took := time.Since(begin); took > 30*time.Second { // a quarter of one on an idle machine; the race detector takes twenty times that
				t.Errorf("7 MiB of %.30q in %s took %v", unit, name, took)
			} else {
				t.Logf("%.30q in %s: %v", unit, name, took.Round(time.Millisecond))
			}
			if err == nil {
				t.Errorf("%.30q in %s is a generation", unit, name)
			}
		}
	}
}
