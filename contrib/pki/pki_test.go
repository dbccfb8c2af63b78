// Package pki tests mtlsproxy-pki, the script that makes certificates for people to try
// rotation with. There is nothing else in it.
package pki

import (
	"bufio"
	"bytes"
	"crypto/ecdsa"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/mtlsproxy/mtlsproxy/service/config"
	"github.com/mtlsproxy/mtlsproxy/tlsclient"
)

const script = "./mtlsproxy-pki"

// needs skips a test unless the programs are there.
func needs(t *testing.T, programs ...string) {
	t.Helper()
	for _, p := range programs {
		if _, err := exec.LookPath(p); err != nil {
			t.Skip("SKIP: ", err)
		}
	}
}

// pki runs the script, which must succeed, and returns what it says.
func pki(t *testing.T, args ...string) string {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), script, args...).CombinedOutput()
	if err != nil {
		t.Fatalf("mtlsproxy-pki %q: %v\n%s", args, err, out)
	}
	return string(out)
}

// refused runs the script, which must end with code and say something.
func refused(t *testing.T, code int, say string, args ...string) {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), script, args...).CombinedOutput()
	if exit, ok := errors.AsType[*exec.ExitError](err); !ok || exit.ExitCode() != code || !strings.Contains(string(out), say) {
		t.Errorf("mtlsproxy-pki %q: %v, want exit status %d and %q\n%s", args, err, code, say, out)
	}
}

// initialised returns a directory that init has made.
func initialised(t *testing.T, options ...string) string {
	t.Helper()
	needs(t, "bash", "openssl")
	dir := filepath.Join(t.TempDir(), "with a blank")
	pki(t, append([]string{"init", dir}, options...)...)
	return dir
}

func read(t *testing.T, elements ...string) []byte {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(elements...))
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func parse(t *testing.T, data []byte) []*x509.Certificate {
	t.Helper()
	var list []*x509.Certificate
	for {
		var block *pem.Block
		if block, data = pem.Decode(data); block == nil {
			return list
		}
		c, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			t.Fatal(err)
		}
		list = append(list, c)
	}
}

func leaf(t *testing.T, elements ...string) *x509.Certificate {
	t.Helper()
	return parse(t, read(t, elements...))[0]
}

func serial(c *x509.Certificate) string { return fmt.Sprintf("%x", c.SerialNumber) }

// verify checks a chain against the authorities of dir, for use, as of now.
func verify(t *testing.T, dir, file string, use x509.ExtKeyUsage) error {
	t.Helper()
	roots, between := x509.NewCertPool(), x509.NewCertPool()
	roots.AppendCertsFromPEM(read(t, dir, "live/ca.crt"))
	chain := parse(t, read(t, dir, file))
	for _, c := range chain[1:] {
		between.AddCert(c)
	}
	_, err := chain[0].Verify(x509.VerifyOptions{Roots: roots, Intermediates: between, KeyUsages: []x509.ExtKeyUsage{use}})
	return err
}

// identity is that of dir as the daemon would name it.
func identity(dir string) tlsclient.Identity {
	live := filepath.Join(dir, "live")
	return tlsclient.Identity{Name: "default", Cert: filepath.Join(live, "client.crt"), Key: filepath.Join(live, "client.key"), CA: filepath.Join(live, "ca.crt")}
}

// load does what the daemon does with the files that are live.
func load(t *testing.T, dir string) *tlsclient.Generation {
	t.Helper()
	g, err := identity(dir).Load(1, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	return g
}

func mode(t *testing.T, elements ...string) fs.FileMode {
	t.Helper()
	info, err := os.Stat(filepath.Join(elements...))
	if err != nil {
		t.Fatal(err)
	}
	return info.Mode() &^ fs.ModeDir
}

func TestInitMakesPairsThatTheAuthoritySigned(t *testing.T) {
	t.Parallel()
	dir := initialised(t)
	for file, use := range map[string]x509.ExtKeyUsage{"live/client.crt": x509.ExtKeyUsageClientAuth, "server.crt": x509.ExtKeyUsageServerAuth} {
		if err := verify(t, dir, file, use); err != nil {
			t.Errorf("%s: %v", file, err)
		}
		c := leaf(t, dir, file)
		if key, ok := c.PublicKey.(*ecdsa.PublicKey); !ok || key.Curve.Params().Name != "P-256" || !slices.Equal(c.ExtKeyUsage, []x509.ExtKeyUsage{use}) {
			t.Errorf("%s has a key of type %T and is for %v", file, c.PublicKey, c.ExtKeyUsage)
		}
		if _, err := tls.X509KeyPair(read(t, dir, file), read(t, dir, strings.TrimSuffix(file, "crt")+"key")); err != nil {
			t.Errorf("%s: %v", file, err)
		}
	}
	server := leaf(t, dir, "server.crt")
	for _, name := range []string{"localhost", "127.0.0.1", "::1"} {
		if err := server.VerifyHostname(name); err != nil {
			t.Error(err)
		}
	}
	if c := leaf(t, dir, "live/client.crt"); c.NotAfter.Sub(c.NotBefore) != 90*24*time.Hour || c.Subject.CommonName != "client" {
		t.Errorf("%s is valid for %v", c.Subject, c.NotAfter.Sub(c.NotBefore))
	}
	load(t, dir)
}

func TestNobodyElseCanReadIt(t *testing.T) {
	t.Parallel()
	dir := initialised(t, "--intermediate")
	pki(t, "client", dir, "aside")
	pki(t, "encrypt", dir)
	if m := mode(t, dir); m != 0o700 {
		t.Errorf("the directory has mode %v", m)
	}
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err == nil && d.Type() != fs.ModeSymlink && mode(t, path).Perm()&0o077 != 0 {
			t.Errorf("%s has mode %v", path, mode(t, path))
		}
		if strings.HasPrefix(d.Name(), ".work") {
			t.Errorf("%s was left behind", path)
		}
		return err
	})
	if err != nil {
		t.Error(err)
	}
}

func TestAGroupReadsWhatIsLive(t *testing.T) {
	t.Parallel()
	dir := initialised(t, "--group", fmt.Sprint(os.Getgid()))
	for _, way := range ways {
		pki(t, "rotate", dir, way)
		for _, file := range []string{"client.key", "client.crt", "ca.crt"} {
			if m := mode(t, dir, "live", file); m != 0o640 {
				t.Errorf("%s: %s has mode %v", way, file, m)
			}
		}
		real, err := filepath.EvalSymlinks(filepath.Join(dir, "live/client.key"))
		if err != nil {
			t.Fatal(err)
		}
		for up := filepath.Dir(real); len(up) >= len(dir); up = filepath.Dir(up) {
			if m := mode(t, up); m != 0o750|fs.ModeSetgid {
				t.Errorf("%s: the directory %s has mode %v", way, up, m)
			}
		}
	}
	if m := mode(t, dir, "authority").Perm(); m != 0o700 {
		t.Errorf("authority has mode %v", m)
	}
}

func TestAnIntermediateSigns(t *testing.T) {
	t.Parallel()
	dir := initialised(t, "--intermediate", "--ca-lifetime", "2h", "--lifetime", "1h")
	chain := parse(t, read(t, dir, "live/client.crt"))
	if len(chain) != 2 || !chain[1].IsCA || !chain[1].MaxPathLenZero || chain[1].NotAfter.Sub(chain[1].NotBefore) != 2*time.Hour {
		t.Fatalf("the chain has %d certificates", len(chain))
	}
	if err := verify(t, dir, "live/client.crt", x509.ExtKeyUsageClientAuth); err != nil {
		t.Error(err)
	}
	if g := load(t, dir); g.Intermediates() != 1 {
		t.Errorf("got %d intermediates", g.Intermediates())
	}
}

func TestKeysOfAllKinds(t *testing.T) {
	t.Parallel()
	dir := initialised(t, "--key", "rsa2048")
	for kind, bits := range map[string]int{"p256": 256, "p384": 384, "rsa2048": 2048, "rsa3072": 3072} {
		pki(t, "client", dir, kind, "--key", kind)
		got := 0
		switch key := leaf(t, dir, "issued", kind+".crt").PublicKey.(type) {
		case *ecdsa.PublicKey:
			got = key.Params().BitSize
		case *rsa.PublicKey:
			got = key.N.BitLen()
		}
		if got != bits {
			t.Errorf("%s has %d bits", kind, got)
		}
		if err := verify(t, dir, "issued/"+kind+".crt", x509.ExtKeyUsageClientAuth); err != nil {
			t.Error(err)
		}
	}
}

func TestClientIsMadeAside(t *testing.T) {
	t.Parallel()
	dir := initialised(t)
	before := read(t, dir, "live/client.crt")
	pki(t, "client", dir, "next", "--name", "an app", "--lifetime", "10m", "--san", "uri:spiffe://corp/app", "--san", "dns:app.corp", "--san", "dns:b.corp",
		"--san", "ip:2001:db8::1", "--san", "email:app@corp.test")
	c := leaf(t, dir, "issued/next.crt")
	if c.Subject.CommonName != "an app" || c.NotAfter.Sub(c.NotBefore) != 10*time.Minute {
		t.Errorf("%s is valid for %v", c.Subject, c.NotAfter.Sub(c.NotBefore))
	}
	if len(c.URIs) != 1 || c.URIs[0].String() != "spiffe://corp/app" || !slices.Equal(c.DNSNames, []string{"app.corp", "b.corp"}) ||
		len(c.IPAddresses) != 1 || !slices.Equal(c.EmailAddresses, []string{"app@corp.test"}) {
		t.Errorf("it has the names %v %v %v %v", c.URIs, c.DNSNames, c.IPAddresses, c.EmailAddresses)
	}
	if _, err := tls.X509KeyPair(read(t, dir, "issued/next.crt"), read(t, dir, "issued/next.key")); err != nil {
		t.Error(err)
	}
	if !bytes.Equal(before, read(t, dir, "live/client.crt")) {
		t.Error("what is live has changed")
	}
}

func TestServerIsMadeAnew(t *testing.T) {
	t.Parallel()
	dir := initialised(t)
	before := leaf(t, dir, "server.crt")
	pki(t, "server", dir, "--san", "dns:other.corp", "--lifetime", "5m")
	after := leaf(t, dir, "server.crt")
	if serial(before) == serial(after) || !slices.Equal(after.DNSNames, []string{"other.corp"}) {
		t.Errorf("it has the serial %s and the names %v", serial(after), after.DNSNames)
	}
	if err := verify(t, dir, "server.crt", x509.ExtKeyUsageServerAuth); err != nil {
		t.Error(err)
	}
}

var ways = []string{"rename", "kubernetes", "certbot", "directory", "write", "chmod"}

// whatIsLive are what the paths of the identity lead through, by the way of rotating.
var whatIsLive = map[string]string{"rename": `/releases/\d+/client.key`, "kubernetes": `/\.\.2[\d_]+\.\d+/client.key`, "certbot": `/archive/client/privkey\d+.pem`}

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

func openssl(t *testing.T, args ...string) []byte {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), "openssl", args...).Output()
	if err != nil {
		t.Fatalf("openssl %q: %v", args, err)
	}
	return out
}

func TestPKCS12HoldsAPair(t *testing.T) {
	t.Parallel()
	dir := initialised(t, "--intermediate")
	said := pki(t, "pkcs12", dir)
	opened := openssl(t, "pkcs12", "-in", filepath.Join(dir, "live/client.p12"), "-passin", "file:"+filepath.Join(dir, "live/passphrase"), "-nodes")
	pair, err := tls.X509KeyPair(opened, opened)
	if err != nil {
		t.Fatal(err)
	}
	if len(pair.Certificate) != 2 || !strings.Contains(said, serial(pair.Leaf)) || serial(pair.Leaf) == load(t, dir).Serial() {
		t.Errorf("it has %d certificates, serial %s, and said %s", len(pair.Certificate), serial(pair.Leaf), said)
	}
	id := identity(dir)
	id.Cert, id.Key, id.PKCS12, id.Passphrase = "", "", filepath.Join(dir, "live/client.p12"), filepath.Join(dir, "live/passphrase")
	if g, err := id.Load(1, time.Now()); err != nil || g.Serial() != serial(pair.Leaf) {
		t.Errorf("the daemon loads %v, %v", g, err)
	}
}

func TestEncryptedKeyOpensWithThePassphrase(t *testing.T) {
	t.Parallel()
	dir := initialised(t)
	pki(t, "encrypt", dir)
	passphrase := read(t, dir, "live/passphrase")
	pki(t, "pkcs12", dir)
	if !bytes.Equal(passphrase, read(t, dir, "live/passphrase")) {
		t.Error("the passphrase has changed")
	}
	name := filepath.Join(dir, "live/encrypted.key")
	if block, _ := pem.Decode(read(t, name)); block == nil || block.Type != "ENCRYPTED PRIVATE KEY" {
		t.Fatalf("got %v", block)
	}
	key := openssl(t, "pkey", "-in", name, "-passin", "file:"+filepath.Join(dir, "live/passphrase"))
	if _, err := tls.X509KeyPair(read(t, dir, "live/encrypted.crt"), key); err != nil {
		t.Error(err)
	}
	id := identity(dir)
	id.Cert, id.Key, id.Passphrase = filepath.Join(dir, "live/encrypted.crt"), name, filepath.Join(dir, "live/passphrase")
	if _, err := id.Load(1, time.Now()); err != nil {
		t.Error(err)
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

func TestShowKnowsTheSerials(t *testing.T) {
	t.Parallel()
	dir := initialised(t)
	said := pki(t, "show", dir)
	for _, file := range []string{"server.crt", "live/client.crt", "live/ca.crt"} {
		if want := file + ": serial " + serial(leaf(t, dir, file)); !strings.Contains(said, want) {
			t.Errorf("it does not say %q but\n%s", want, said)
		}
	}
	pki(t, "bad", dir, "garbage")
	if said := pki(t, "show", dir); !strings.Contains(said, "live/client.crt: no certificate") {
		t.Error(said)
	}
}

func TestConfigurationLoads(t *testing.T) {
	t.Parallel()
	dir := initialised(t)
	file := filepath.Join(dir, "mtlsproxy.toml")
	if err := os.WriteFile(file, []byte(pki(t, "config", dir, "--port", "9443")), 0o600); err != nil {
		t.Fatal(err)
	}
	c, err := config.Load(config.Options{File: file})
	if err != nil {
		t.Fatal(err)
	}
	if len(c.Identities) != 1 || c.Identities[0].Cert != identity(dir).Cert || len(c.Upstreams) != 1 || len(c.Routes) != 1 {
		t.Errorf("got %+v", c)
	}
}

func TestServeDemandsACertificate(t *testing.T) {
	t.Parallel()
	dir := initialised(t, "--intermediate")
	cmd := exec.CommandContext(t.Context(), script, "serve", dir, "--port", "0")
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() {
		cmd.Process.Kill()
		cmd.Wait() // it was killed
	}()
	port := ""
	for lines := bufio.NewScanner(out); port == ""; {
		if !lines.Scan() {
			t.Fatal("it ended without listening: ", lines.Err())
		}
		if address, ok := strings.CutPrefix(lines.Text(), "ACCEPT 127.0.0.1:"); ok {
			port = address
		}
	}

	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(read(t, dir, "live/ca.crt"))
	ask := func(pairs ...tls.Certificate) (string, error) {
		c, err := tls.Dial("tcp", "127.0.0.1:"+port, &tls.Config{RootCAs: roots, ServerName: "localhost", Certificates: pairs})
		if err != nil {
			return "", err
		}
		defer c.Close()
		if err := c.SetDeadline(time.Now().Add(20 * time.Second)); err != nil {
			return "", err
		}
		fmt.Fprint(c, "GET / HTTP/1.0\r\n\r\n")
		var page bytes.Buffer
		_, err = page.ReadFrom(c)
		return page.String(), err
	}
	pair, err := tls.LoadX509KeyPair(identity(dir).Cert, identity(dir).Key)
	if err != nil {
		t.Fatal(err)
	}
	page, err := ask(pair)
	if !strings.HasPrefix(page, "HTTP/1.0 200") || !strings.Contains(page, "Serial Number") {
		t.Errorf("with a certificate it answers %q (%v)", page, err)
	}
	if page, err := ask(); err == nil {
		t.Errorf("without a certificate it answers %q", page)
	}
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

// What is declared in the script is explained, and nothing else.
func TestHelpHasEveryVerbAndOption(t *testing.T) {
	t.Parallel()
	needs(t, "bash")
	help, source := pki(t, "help"), string(read(t, script))
	verbs, options := map[string]bool{"help": true}, map[string]bool{}
	for _, m := range regexp.MustCompile(`(?m)^\t\[([a-z0-9-]+)\]="(.*)[01]"$`).FindAllStringSubmatch(source, -1) {
		verbs[m[1]] = true
		for option := range strings.FieldsSeq(m[2]) {
			options[option] = true
		}
	}
	if len(verbs) < 10 || len(options) < 10 {
		t.Fatalf("found %d verbs and %d options only", len(verbs), len(options))
	}
	for verb := range verbs {
		if !regexp.MustCompile(`(?m)^  ` + verb + `\b`).MatchString(help) {
			t.Errorf("%s is not explained", verb)
		}
	}
	for option := range options {
		if !regexp.MustCompile(`(?m)^  --` + option + `\b`).MatchString(help) {
			t.Errorf("--%s is not explained", option)
		}
	}
	for _, m := range regexp.MustCompile(`(?m)^  (--)?([a-z0-9-]+)`).FindAllStringSubmatch(help, -1) {
		if m[1] == "" && !verbs[m[2]] || m[1] != "" && !options[m[2]] {
			t.Errorf("%s%s is explained and does not exist", m[1], m[2])
		}
	}
	for _, way := range ways {
		if !strings.Contains(help, "      "+way+" ") {
			t.Errorf("the way %s is not explained", way)
		}
	}
}

func TestShellcheck(t *testing.T) {
	t.Parallel()
	needs(t, "shellcheck")
	if out, err := exec.CommandContext(t.Context(), "shellcheck", script, "ways.bash").CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}
