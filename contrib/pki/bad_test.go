package pki

import (
	"bytes"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// What the daemon must refuse, and in which words it does.
func TestBadIsRefusedAndGoodMendsIt(t *testing.T) {
	for name, options := range map[string][]string{"a leaf": nil, "a leaf and its intermediate": {"--intermediate"}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			badThenGood(t, initialised(t, options...))
		})
	}
}

func badThenGood(t *testing.T, dir string) {
	t.Helper()
	for _, bad := range []struct{ what, file string }{
		{"half-written", "client.crt"},
		{"foreign-key", "client.key"},
		{"open-key", "client.key"},
		{"expired", "client.crt"},
		{"not-yet-valid", "client.crt"},
		{"empty-ca", "ca.crt"},
		{"missing-ca", "ca.crt"},
		{"wrong-usage", "client.crt"},
		{"garbage", "client.crt"},
		{"missing", "client.key"},
	} {
		pki(t, "bad", dir, bad.what)
		if g, err := identity(dir).Load(1, time.Now()); err == nil || !strings.Contains(err.Error(), bad.file) {
			t.Errorf("%s: got %v, want an error about %s; serial %v", bad.what, err, bad.file, g)
		}
		pki(t, "good", dir)
		load(t, dir)
	}
}

// From the state that each bad one leaves, every way that does not write into the
// files themselves mends the pair.
func TestBadPairIsMendedByARotation(t *testing.T) {
	t.Parallel()
	dir := initialised(t, "--intermediate")
	for i, what := range []string{"half-written", "foreign-key", "open-key", "unreadable-key", "garbage", "missing"} {
		pki(t, "bad", dir, what)
		pki(t, "rotate", dir, []string{"rename", "kubernetes", "certbot", "directory"}[i%4])
		load(t, dir)
	}
}

// What can be read of it looks like a good certificate.
func TestHalfWrittenChainHasItsLeaf(t *testing.T) {
	t.Parallel()
	dir := initialised(t, "--intermediate")
	pki(t, "bad", dir, "half-written")
	half := read(t, dir, "live/client.crt")
	if list := parse(t, half); len(list) != 1 || bytes.Count(half, []byte("-----BEGIN")) != 2 {
		t.Errorf("%d certificates of %q can be read", len(list), half)
	}
}

func TestBadIsWhatItSays(t *testing.T) {
	t.Parallel()
	dir := initialised(t)
	now := time.Now()
	pki(t, "bad", dir, "expired")
	if c := leaf(t, dir, "live/client.crt"); !c.NotAfter.Before(now) || !c.NotBefore.Before(c.NotAfter) {
		t.Errorf("it expires at %v", c.NotAfter)
	}
	pki(t, "bad", dir, "not-yet-valid")
	if c := leaf(t, dir, "live/client.crt"); c.NotBefore.Before(now.Add(50 * time.Minute)) {
		t.Errorf("it begins at %v", c.NotBefore)
	}
	pki(t, "bad", dir, "open-key")
	if m := mode(t, dir, "live/client.key"); m != 0o644 {
		t.Errorf("the open key has mode %v", m)
	}
	pki(t, "bad", dir, "unreadable-key")
	if m := mode(t, dir, "live/client.key"); m != 0 {
		t.Errorf("the unreadable key has mode %v", m)
	}
	pki(t, "bad", dir, "garbage")
	if n := len(read(t, dir, "live/client.crt")); n != 10_000_000 {
		t.Errorf("there are %d bytes of garbage", n)
	}
	pki(t, "bad", dir, "stranger")
	load(t, dir)
	if err := verify(t, dir, "live/client.crt", x509.ExtKeyUsageClientAuth); err == nil {
		t.Error("the stranger is known")
	}
	pki(t, "good", dir)
	if err := verify(t, dir, "live/client.crt", x509.ExtKeyUsageClientAuth); err != nil {
		t.Error(err)
	}
}

func revocations(t *testing.T, dir string) (lists []*x509.RevocationList, serials []string) {
	t.Helper()
	for data := read(t, dir, "live/ca.crl"); ; {
		var block *pem.Block
		if block, data = pem.Decode(data); block == nil {
			return lists, serials
		}
		list, err := x509.ParseRevocationList(block.Bytes)
		if err != nil {
			t.Fatal(err)
		}
		lists = append(lists, list)
		for _, e := range list.RevokedCertificateEntries {
			serials = append(serials, fmt.Sprintf("%x", e.SerialNumber))
		}
	}
}

func TestListRevokes(t *testing.T) {
	t.Parallel()
	dir := initialised(t, "--intermediate")
	pki(t, "crl", dir)
	lists, serials := revocations(t, dir)
	if len(lists) != 2 || len(serials) != 0 {
		t.Fatalf("there are %d lists with %v", len(lists), serials)
	}
	id := identity(dir)
	id.CRL = filepath.Join(dir, "live/ca.crl")
	if _, err := id.Load(1, time.Now()); err != nil {
		t.Error(err)
	}
	number := lists[0].Number
	pki(t, "crl", dir, "--revoke", filepath.Join(dir, "server.crt"), "--lifetime", "15m")
	pki(t, "crl", dir, "--revoke", filepath.Join(dir, "server.crt"), "--lifetime", "15m") // once more does no harm
	lists, serials = revocations(t, dir)
	if !slices.Equal(serials, []string{serial(leaf(t, dir, "server.crt"))}) || lists[0].Number.Cmp(number) <= 0 {
		t.Errorf("revoked are %v, the number is %v after %v", serials, lists[0].Number, number)
	}
	issuer := parse(t, read(t, dir, "server.crt"))[1]
	list := lists[slices.IndexFunc(lists, func(l *x509.RevocationList) bool { return bytes.Equal(l.RawIssuer, issuer.RawSubject) })]
	if err := list.CheckSignatureFrom(issuer); err != nil {
		t.Error(err)
	}
	if d := list.NextUpdate.Sub(list.ThisUpdate); d != 15*time.Minute {
		t.Errorf("the list is valid for %v", d)
	}
	refused(t, 1, "was not issued here", "crl", dir, "--revoke", filepath.Join(initialised(t), "server.crt"))
}

func TestRefusals(t *testing.T) {
	t.Parallel()
	dir := initialised(t)
	tree := t.TempDir()
	if err := os.Mkdir(filepath.Join(tree, ".git"), 0o700); err != nil {
		t.Fatal(err)
	}
	inTree := filepath.Join(tree, "a/b")
	refused(t, 1, "git work tree", "init", inTree)
	if _, err := os.Stat(filepath.Dir(inTree)); err == nil {
		t.Error("a directory was made in the work tree")
	}
	refused(t, 1, "is not empty", "init", dir)
	refused(t, 1, "was not made by mtlsproxy-pki", "rotate", tree, "rename")
	refused(t, 1, "there is no directory", "good", filepath.Join(tree, "none"))
	refused(t, 2, "no verb", "rotat", dir)
	refused(t, 2, "needs a directory", "rotate")
	refused(t, 2, "needs a directory", "init", "--intermediate")
	refused(t, 2, "no way", "rotate", dir, "quickly")
	refused(t, 2, "nothing bad", "bad", dir, "weather")
	refused(t, 2, "takes 1 arguments", "rotate", dir)
	refused(t, 2, "no option --pause", "good", dir, "--pause", "1s")
	refused(t, 2, "no option --1", "rotate", dir, "rename", "--1", "x")
	refused(t, 2, "needs a value", "good", dir, "--lifetime")
	refused(t, 2, "is no time", "good", dir, "--lifetime", "soon")
	refused(t, 2, "--times takes", "rotate", dir, "rename", "--times", "0")
	refused(t, 2, "--key takes", "good", dir, "--key", "rot13")
	refused(t, 2, "is no name", "good", dir, "--san", "dns:a\nb")
	refused(t, 2, "--name takes", "good", dir, "--name", "a/CN=b")
	refused(t, 2, "is no name for a file", "client", dir, "../x")
}
