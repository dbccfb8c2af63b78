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
)

const script = "./mtlsproxy-pki"

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
