package tlsclient_test

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/mtlsproxy/mtlsproxy/tlsclient"
	"github.com/mtlsproxy/mtlsproxy/tlsclient/tlstest"
)

// failure is what an operator is told.
type failure struct {
	reason tlsclient.Reason
	path   string // of the file that is to be mended
	text   string // in the error
}

// check fails the test unless err says that, in all the ways it is asked.
func (want failure) check(t *testing.T, err error) {
	t.Helper()
	var e *tlsclient.LoadError
	if !errors.As(err, &e) || tlsclient.ReasonOf(err) != want.reason || e.Path != want.path || !strings.Contains(err.Error(), want.text) {
		t.Fatalf("got %v (%s), want %s of %q with %q", err, tlsclient.ReasonOf(err), want.reason, want.path, want.text)
	}
	if !slices.Contains(tlsclient.Reasons(), e.Reason) {
		t.Errorf("reason %s is not in the list", e.Reason)
	}
}

// Each way in which a rotation can go wrong has its reason, and names the file.
func TestBadRotations(t *testing.T) {
	ca := tlstest.NewCA(t, tlstest.CAOptions{Intermediate: true})
	other := ca.Client(t, "client")
	key := func(f tlstest.Files) string { return f.Key }
	cert := func(f tlstest.Files) string { return f.Cert }
	anchors := func(f tlstest.Files) string { return f.CA }
	lists := func(f tlstest.Files) string { return f.CRL }
	for name, c := range map[string]struct {
		spoil  func(t *testing.T, f tlstest.Files)
		reason tlsclient.Reason
		path   func(tlstest.Files) string
		text   string
	}{
		"new certificate, old key":   {func(t *testing.T, f tlstest.Files) { write(t, f.Cert, other.CertPEM()) }, tlsclient.ReasonMismatch, key, "does not belong to the certificate"},
		"new key, old certificate":   {func(t *testing.T, f tlstest.Files) { write(t, f.Key, other.KeyPEM()) }, tlsclient.ReasonMismatch, key, "put the key there that the certificate was issued for"},
		"half a certificate":         {func(t *testing.T, f tlstest.Files) { cut(t, f.Cert, 100) }, tlsclient.ReasonMalformed, cert, "not all are whole"},
		"leaf without its second":    {func(t *testing.T, f tlstest.Files) { cut(t, f.Cert, len(read(t, f.Cert))-100) }, tlsclient.ReasonMalformed, cert, "move it there"},
		"half a key":                 {func(t *testing.T, f tlstest.Files) { cut(t, f.Key, 60) }, tlsclient.ReasonMalformed, key, "move it there"},
		"half a trust anchor":        {func(t *testing.T, f tlstest.Files) { cut(t, f.CA, 60) }, tlsclient.ReasonMalformed, anchors, "not all are whole"},
		"half a list":                {func(t *testing.T, f tlstest.Files) { cut(t, f.CRL, 60) }, tlsclient.ReasonMalformed, lists, "not all are whole"},
		"emptied certificate":        {func(t *testing.T, f tlstest.Files) { write(t, f.Cert, nil) }, tlsclient.ReasonEmpty, cert, "holds no PEM certificate"},
		"emptied key":                {func(t *testing.T, f tlstest.Files) { write(t, f.Key, nil) }, tlsclient.ReasonEmpty, key, "holds no PEM private key"},
		"emptied CA":                 {func(t *testing.T, f tlstest.Files) { write(t, f.CA, nil) }, tlsclient.ReasonEmpty, anchors, "holds no PEM certificate"},
		"CA with a key only":         {func(t *testing.T, f tlstest.Files) { write(t, f.CA, other.KeyPEM()) }, tlsclient.ReasonEmpty, anchors, "holds no PEM certificate"},
		"emptied list":               {func(t *testing.T, f tlstest.Files) { write(t, f.CRL, nil) }, tlsclient.ReasonEmpty, lists, "holds no revocation list"},
		"missing certificate":        {func(t *testing.T, f tlstest.Files) { os.Remove(f.Cert) }, tlsclient.ReasonMissing, cert, "put the file there"},
		"missing key":                {func(t *testing.T, f tlstest.Files) { os.Remove(f.Key) }, tlsclient.ReasonMissing, key, "put the file there"},
		"missing CA":                 {func(t *testing.T, f tlstest.Files) { os.Remove(f.CA) }, tlsclient.ReasonMissing, anchors, "put the file there"},
		"missing list":               {func(t *testing.T, f tlstest.Files) { os.Remove(f.CRL) }, tlsclient.ReasonMissing, lists, "put the file there"},
		"a link to nothing":          {func(t *testing.T, f tlstest.Files) { os.Remove(f.Key); os.Symlink("../archive/key7.pem", f.Key) }, tlsclient.ReasonMissing, key, "it is a link to ../archive/key7.pem"},
		"a link to itself":           {func(t *testing.T, f tlstest.Files) { os.Remove(f.Key); os.Symlink(f.Key, f.Key) }, tlsclient.ReasonUnreadable, key, "too many levels"},
		"key for everyone":           {func(t *testing.T, f tlstest.Files) { os.Chmod(f.Key, 0o644) }, tlsclient.ReasonMode, key, "chmod 0640"},
		"key of somebody else":       {func(t *testing.T, f tlstest.Files) { chown(t, f.Key, 12345) }, tlsclient.ReasonMode, key, "chown root"},
		"a directory for a key":      {func(t *testing.T, f tlstest.Files) { os.Remove(f.Key); os.Mkdir(f.Key, 0o700) }, tlsclient.ReasonUnreadable, key, "not a regular file"},
		"a directory for a CA":       {func(t *testing.T, f tlstest.Files) { os.Remove(f.CA); os.Mkdir(f.CA, 0o700) }, tlsclient.ReasonUnreadable, anchors, "not a regular file"},
		"a pipe for a certificate":   {func(t *testing.T, f tlstest.Files) { os.Remove(f.Cert); syscall.Mkfifo(f.Cert, 0o600) }, tlsclient.ReasonUnreadable, cert, "not a regular file"},
		"10 MB of garbage for a key": {func(t *testing.T, f tlstest.Files) { write(t, f.Key, garbage(10<<20)) }, tlsclient.ReasonTooLarge, key, "larger than 8 MiB"},
		"10 MB of garbage for a CA":  {func(t *testing.T, f tlstest.Files) { write(t, f.CA, garbage(10<<20)) }, tlsclient.ReasonTooLarge, anchors, "larger than 8 MiB"},
		"a terabyte of nothing":      {func(t *testing.T, f tlstest.Files) { os.Truncate(f.Cert, 1<<40) }, tlsclient.ReasonTooLarge, cert, "larger than 8 MiB"},
		"7 MB of garbage for a cert": {func(t *testing.T, f tlstest.Files) { write(t, f.Cert, garbage(7<<20)) }, tlsclient.ReasonMalformed, cert, "holds no PEM certificate"},
		"7 MB of garbage for a list": {func(t *testing.T, f tlstest.Files) { write(t, f.CRL, garbage(7<<20)) }, tlsclient.ReasonMalformed, lists, "parsing list 1"},
		"expired": {func(t *testing.T, f tlstest.Files) {
			reissue(t, ca, f, tlstest.LeafOptions{NotAfter: time.Now().Add(-time.Minute)})
		}, tlsclient.ReasonExpired, cert, "it expired on"},
		"valid in an hour": {func(t *testing.T, f tlstest.Files) {
			reissue(t, ca, f, tlstest.LeafOptions{NotBefore: time.Now().Add(time.Hour)})
		}, tlsclient.ReasonNotYetValid, cert, "check the clock"},
		"every trust anchor expired": {func(t *testing.T, f tlstest.Files) { write(t, f.CA, tlstest.CABundle(pastCA(t), pastCA(t))) }, tlsclient.ReasonExpired, anchors, "all have expired"},
		"intermediate before leaf":   {func(t *testing.T, f tlstest.Files) { write(t, f.Cert, reversed(t, f.Cert)) }, tlsclient.ReasonMalformed, cert, "leaf first, then its intermediates"},
		"another's leaf behind ours": {func(t *testing.T, f tlstest.Files) {
			write(t, f.Cert, append([]byte(read(t, f.Cert)), other.CertPEM()...))
		}, tlsclient.ReasonMalformed, cert, "leaf first, then its intermediates"},
		"a damaged one in the bundle": {func(t *testing.T, f tlstest.Files) {
			write(t, f.CA, append(ca.PEM(), strings.Replace(string(ca.PEM()), "=", "!", 1)[:200]...))
		}, tlsclient.ReasonMalformed, anchors, "not all are whole"},
	} {
		t.Run(name, func(t *testing.T) {
			f := ca.Client(t, "client").WriteFiles(t, "", ca)
			f.WriteCRL(t, ca.CRL(t, tlstest.CRLOptions{}))
			c.spoil(t, f)
			id := identity(f)
			id.CRL = f.CRL
			begin := time.Now()
			g, err := id.Load(1, time.Now())
			if g != nil {
				t.Error("a generation beside an error")
			}
			failure{c.reason, c.path(f), c.text}.check(t, err)
			if took := time.Since(begin); took > 5*time.Second { // ordinarily some hundredths
				t.Errorf("it took %v", took)
			}
		})
	}
}

// A writer may have got no further than into the marker of the next block, with which
// it would be one.
func TestFileCutWithinTheNextMarkerIsNotWhole(t *testing.T) {
	ca, another := tlstest.NewCA(t, tlstest.CAOptions{Intermediate: true}), tlstest.NewCA(t, tlstest.CAOptions{})
	client := ca.Client(t, "client")
	list := ca.CRL(t, tlstest.CRLOptions{})
	f := client.WriteFiles(t, "", ca)
	id := identity(f)
	id.CRL = f.CRL
	const begin = "-----BEGIN CERTIFICATE-----"
	for path, blocks := range map[string]struct{ whole, next []byte }{
		f.Cert: {client.CertPEM(), nil},
		f.CA:   {ca.PEM(), another.PEM()},
		f.CRL:  {list, ca.CRL(t, tlstest.CRLOptions{ByRoot: true})},
	} {
		if path == f.Cert { // the leaf, and then its intermediate
			second := bytes.LastIndex(blocks.whole, []byte(begin))
			blocks.whole, blocks.next = blocks.whole[:second], blocks.whole[second:]
		}
		for n := 1; n <= len(begin); n++ {
			for _, ends := range []string{"\n", "\r\n"} {
				client.WriteFiles(t, f.Dir, ca)
				f.WriteCRL(t, list)
				text := slices.Concat(blocks.whole, blocks.next[:n])
				write(t, path, bytes.ReplaceAll(text, []byte("\n"), []byte(ends)))
				_, err := id.Load(1, time.Now())
				failure{tlsclient.ReasonMalformed, path, "move it there"}.check(t, err)
			}
		}
	}
}

// Bundles have comments in them.
func TestTextAfterTheLastBlockIsNoMarker(t *testing.T) {
	ca := tlstest.NewCA(t, tlstest.CAOptions{})
	f := ca.Client(t, "client").WriteFiles(t, "", ca)
	write(t, f.CA, slices.Concat([]byte("-- old ones\n"), ca.PEM(), []byte("\n# the end - for now -----\n\n")))
	if g := load(t, f, 1); g.Anchors() != 1 {
		t.Errorf("%d anchors, want 1", g.Anchors())
	}
}

func write(t *testing.T, path string, data []byte) {
	t.Helper()
	tlstest.WriteFile(t, path, data, 0o640)
}

func garbage(n int) []byte { return bytes.Repeat([]byte{'x', 0, 0xff, '\n', '-', 0x30, 0x82}, n/7) }

// cut leaves the first n bytes of a file, as a writer does that has not got further.
func cut(t *testing.T, path string, n int) {
	t.Helper()
	if err := os.Truncate(path, int64(n)); err != nil {
		t.Fatal(err)
	}
}

func chown(t *testing.T, path string, uid int) {
	t.Helper()
	if err := os.Chown(path, uid, -1); errors.Is(err, fs.ErrPermission) {
		t.Skip("only root can give files away: ", err)
	} else if err != nil {
		t.Fatal(err)
	}
}

func reissue(t *testing.T, ca *tlstest.CA, f tlstest.Files, o tlstest.LeafOptions) {
	t.Helper()
	ca.Issue(t, o).WriteFiles(t, f.Dir, ca)
}

func pastCA(t *testing.T) *tlstest.CA {
	t.Helper()
	return tlstest.NewCA(t, tlstest.CAOptions{NotBefore: time.Now().Add(-2 * time.Hour), NotAfter: time.Now().Add(-time.Hour)})
}

// reversed is a chain with its issuer before its leaf.
func reversed(t *testing.T, path string) []byte {
	t.Helper()
	const begin = "-----BEGIN"
	leaf, issuer, _ := strings.Cut(strings.TrimPrefix(read(t, path), begin), begin)
	return []byte(begin + issuer + begin + leaf)
}

// Bundles keep anchors that have expired; one that is good is enough.
func TestExpiredAnchorsAreKeptBesideGoodOnes(t *testing.T) {
	ca := tlstest.NewCA(t, tlstest.CAOptions{})
	f := ca.Client(t, "client").WriteFiles(t, "", ca)
	tlstest.WriteFile(t, f.CA, tlstest.CABundle(pastCA(t), ca), 0o644)
	if g := load(t, f, 1); g.Anchors() != 2 {
		t.Errorf("%d anchors, want 2", g.Anchors())
	}
}

func TestUnreadableFile(t *testing.T) {
	if os.Geteuid() == 0 {
		t.Skip("root can read every file")
	}
	ca := tlstest.NewCA(t, tlstest.CAOptions{})
	f := ca.Client(t, "client").WriteFiles(t, "", ca)
	if err := os.Chmod(f.Key, 0); err != nil {
		t.Fatal(err)
	}
	_, err := identity(f).Load(1, time.Now())
	failure{tlsclient.ReasonUnreadable, f.Key, "chgrp"}.check(t, err)
}

// between runs what others do to the files between two readings of them, and counts
// the readings.
func between(id tlsclient.Identity, readings *int, do func(reading int)) tlsclient.Identity {
	*readings = 1
	id.Pause = func(time.Duration) {
		do(*readings)
		*readings++
	}
	return id
}

// The first reading may have seen the one file before and the other after the swap.
func TestFilesSwappedBetweenTwoReadings(t *testing.T) {
	ca := tlstest.NewCA(t, tlstest.CAOptions{})
	f := ca.Client(t, "client").WriteFiles(t, "", ca)
	next := ca.Client(t, "client")
	tlstest.WriteFile(t, f.Cert, next.CertPEM(), 0o644) // half of the rotation was there
	var readings int
	id := between(identity(f), &readings, func(reading int) {
		if reading == 1 {
			tlstest.WriteFile(t, f.Key, next.KeyPEM(), 0o640)
		}
	})
	g, err := id.Load(2, time.Now())
	if err != nil || g.Serial() != next.Serial() || readings != 3 {
		t.Errorf("got %v after %d readings, want the new pair after 3", err, readings)
	}
}

func TestFilesThatHoldStillAreReadTwice(t *testing.T) {
	ca := tlstest.NewCA(t, tlstest.CAOptions{})
	f := ca.Client(t, "client").WriteFiles(t, "", ca)
	var readings int
	id := between(identity(f), &readings, func(int) {})
	if _, err := id.Read(); err != nil || readings != 2 {
		t.Errorf("got %v after %d readings, want 2", err, readings)
	}
	id.Cert = "/nonexistent"
	id = between(id, &readings, func(int) {})
	if _, err := id.Read(); tlsclient.ReasonOf(err) != tlsclient.ReasonMissing || readings != 2 {
		t.Errorf("got %v after %d readings, want that it is missing after 2", err, readings)
	}
}

func TestFilesThatNeverHoldStill(t *testing.T) {
	ca := tlstest.NewCA(t, tlstest.CAOptions{})
	for name, change := range map[string]func(f tlstest.Files, reading int){
		"bytes": func(f tlstest.Files, _ int) { ca.Client(t, "client").WriteFiles(t, f.Dir, ca) },
		"mode":  func(f tlstest.Files, n int) { os.Chmod(f.Key, []fs.FileMode{0o600, 0o640}[n%2]) },
		"being": func(f tlstest.Files, n int) {
			if os.Remove(f.CA); n%2 == 0 {
				tlstest.WriteFile(t, f.CA, ca.PEM(), 0o644)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			f := ca.Client(t, "client").WriteFiles(t, "", ca)
			var readings int
			id := between(identity(f), &readings, func(n int) { change(f, n) })
			m, err := id.Read()
			if !strings.Contains(err.Error(), "did not hold still") || readings != 5 {
				t.Errorf("got %v after %d readings, want 5", err, readings)
			}
			if _, err := id.Make(m, 1, time.Now()); err == nil {
				t.Error("a generation was made of what did not hold still")
			}
		})
	}
}

// The key's mode is looked at before it is read, at each reading.
func TestModeIsCheckedAtEachReading(t *testing.T) {
	ca := tlstest.NewCA(t, tlstest.CAOptions{})
	f := ca.Client(t, "client").WriteFiles(t, "", ca)
	var readings int
	id := between(identity(f), &readings, func(n int) { os.Chmod(f.Key, 0o644) })
	m, err := id.Read()
	failure{tlsclient.ReasonMode, f.Key, "chmod 0640"}.check(t, err)
	if len(m.Key) > 0 {
		t.Error("the key was read nevertheless")
	}
}

// A Kubernetes volume swaps the directory behind ..data.
func TestSwapOfALinkedDirectory(t *testing.T) {
	ca := tlstest.NewCA(t, tlstest.CAOptions{})
	dir := t.TempDir()
	at := func(parts ...string) string { return filepath.Join(append([]string{dir}, parts...)...) }
	link := func(target string) {
		if err := errors.Join(os.Symlink(target, at("..tmp")), os.Rename(at("..tmp"), at("..data"))); err != nil {
			t.Fatal(err)
		}
	}
	ids := map[string]*tlstest.Identity{}
	for _, name := range []string{"..1", "..2"} {
		if err := os.Mkdir(at(name), 0o755); err != nil {
			t.Fatal(err)
		}
		ids[name] = ca.Client(t, "client")
		ids[name].WriteFiles(t, at(name), ca)
	}
	id := tlsclient.Identity{Name: "default", Cert: at("..data", "client.crt"), Key: at("..data", "client.key"), CA: at("..data", "ca.crt")}
	for _, name := range []string{"..1", "..2"} {
		link(name)
		if g, err := id.Load(1, time.Now()); err != nil || g.Serial() != ids[name].Serial() {
			t.Errorf("%s: got %v, want its serial %s", name, err, ids[name].Serial())
		}
	}
}
