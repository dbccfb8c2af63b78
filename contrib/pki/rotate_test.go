package pki

import (
	"bytes"
	"crypto/x509"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
)

// Each way is gone from what every other has left.
func TestRotateInAllWays(t *testing.T) {
	t.Parallel()
	dir := initialised(t)
	seen := map[string]bool{}
	for way := range strings.FieldsSeq("rename kubernetes certbot directory write chmod kubernetes directory certbot write kubernetes rename directory chmod certbot rename") {
		said := pki(t, "rotate", dir, way, "--lifetime", "30m")
		g := load(t, dir)
		if seen[g.Serial()] || !strings.Contains(said, g.Serial()) {
			t.Errorf("%s: the serial is %s, and it said %s", way, g.Serial(), said)
		}
		seen[g.Serial()] = true
		if d := g.Leaf.NotAfter.Sub(g.Leaf.NotBefore); d != 30*time.Minute {
			t.Errorf("%s: it is valid for %v", way, d)
		}
		path, err := filepath.EvalSymlinks(filepath.Join(dir, "live/client.key"))
		if want := whatIsLive[way]; err != nil || !regexp.MustCompile(want+"$").MatchString(path) {
			t.Errorf("%s: the key is %s (%v)", way, path, err)
		}
		if m := mode(t, path); m != 0o600 {
			t.Errorf("%s: the key has mode %v", way, m)
		}
	}
}

// A watch on the directory sees no event when live itself is turned: that is the point.
func TestRotatingTheDirectoryLeavesTheOldOneAlone(t *testing.T) {
	t.Parallel()
	dir := initialised(t)
	old, err := filepath.EvalSymlinks(filepath.Join(dir, "live"))
	if err != nil {
		t.Fatal(err)
	}
	before := read(t, old, "client.crt")
	pki(t, "rotate", dir, "directory")
	if !bytes.Equal(before, read(t, old, "client.crt")) || bytes.Equal(before, read(t, dir, "live/client.crt")) {
		t.Error("the certificate changed in the wrong place")
	}
}

func TestWriteKeepsTheFile(t *testing.T) {
	t.Parallel()
	dir := initialised(t)
	before, err := os.Stat(filepath.Join(dir, "live/client.crt"))
	if err != nil {
		t.Fatal(err)
	}
	pki(t, "rotate", dir, "write")
	if after, err := os.Stat(filepath.Join(dir, "live/client.crt")); err != nil || !os.SameFile(before, after) {
		t.Errorf("it is another file (%v)", err)
	}
}

func TestSameKeyIsKept(t *testing.T) {
	t.Parallel()
	dir := initialised(t)
	key := read(t, dir, "live/client.key")
	before := load(t, dir)
	pki(t, "rotate", dir, "rename", "--same-key")
	if after := load(t, dir); after.Serial() == before.Serial() || !bytes.Equal(key, read(t, dir, "live/client.key")) {
		t.Error("the certificate is the same, or the key is not")
	}
	pki(t, "rotate", dir, "rename")
	if bytes.Equal(key, read(t, dir, "live/client.key")) {
		t.Error("the key is the same without the option")
	}
}

func TestRotateManyTimes(t *testing.T) {
	t.Parallel()
	said := pki(t, "rotate", initialised(t), "rename", "--times", "3", "--every", "0s")
	if lines := strings.Split(strings.TrimSpace(said), "\n"); len(lines) != 3 || len(slices.Compact(lines)) != 3 {
		t.Errorf("it said %q", said)
	}
}

func TestAuthoritiesComeAndGo(t *testing.T) {
	t.Parallel()
	dir := initialised(t)
	old := read(t, dir, "live/client.crt")
	pki(t, "new-ca", dir, "--intermediate")
	if n := len(parse(t, read(t, dir, "live/ca.crt"))); n != 2 {
		t.Fatalf("there are %d authorities", n)
	}
	if err := verify(t, dir, "live/client.crt", x509.ExtKeyUsageClientAuth); err != nil {
		t.Error("the old certificate: ", err)
	}
	pki(t, "crl", dir, "--revoke", filepath.Join(dir, "server.crt"))
	if lists, serials := revocations(t, dir); len(lists) != 3 || len(serials) != 1 {
		t.Errorf("there are %d lists with %v", len(lists), serials)
	}
	pki(t, "rotate", dir, "rename")
	pki(t, "drop-ca", dir)
	if err := verify(t, dir, "live/client.crt", x509.ExtKeyUsageClientAuth); err != nil {
		t.Error("the new certificate: ", err)
	}
	if err := os.WriteFile(filepath.Join(dir, "old.crt"), old, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := verify(t, dir, "old.crt", x509.ExtKeyUsageClientAuth); err == nil {
		t.Error("the old certificate is still trusted")
	}
}
