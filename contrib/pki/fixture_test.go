package pki

import (
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/mtlsproxy/mtlsproxy/tlsclient"
)

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

func openssl(t *testing.T, args ...string) []byte {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), "openssl", args...).Output()
	if err != nil {
		t.Fatalf("openssl %q: %v", args, err)
	}
	return out
}
