package main

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/mtlsproxy/mtlsproxy/service/admin/api"
	"github.com/mtlsproxy/mtlsproxy/tlsclient/tlstest"
	"github.com/mtlsproxy/mtlsproxy/tlsclient/tlstest/leak"
)

const (
	toldWithin   = 12 * time.Second
	neverStill   = 2 * time.Second // later if the files never stop moving: so long they are waited for
	healedWithin = 2 * time.Second
)

// badRotation is one that must leave the certificate of before in use.
type badRotation struct {
	name    string
	reasons []string // one of them is given
	do      func(b *broken) error
}

// broken is an identity with a bad rotation.
type broken struct {
	badRotation
	files
	tally           tally
	stash           string            // a directory of its own, on the same file system
	old, bad, mends *tlstest.Identity // in use, half of what comes, and what mends it
	ca, dead        *tlstest.CA       // whose certificates are verified, and one that has expired
	at              time.Time         // when it was broken
	within          time.Duration     // it must be told
	told            map[string]string // where it was told, and how long that took
	end             func()            // of what goes on in the background
}

func badRotations() []badRotation {
	return []badRotation{
		{"half-certificate", []string{"malformed"}, func(b *broken) error {
			return errors.Join(os.WriteFile(b.key, b.bad.KeyPEM(), 0), os.WriteFile(b.cert, half(b.bad.CertPEM()), 0))
		}},
		{"half-key", []string{"malformed"}, func(b *broken) error { return os.WriteFile(b.key, half(b.bad.KeyPEM()), 0) }},
		{"foreign-key", []string{"mismatch"}, func(b *broken) error { return b.put(b.key, b.bad.KeyPEM(), 0o640) }},
		{"open-key", []string{"mode"}, func(b *broken) error {
			return errors.Join(b.put(b.key, b.bad.KeyPEM(), 0o644), b.put(b.cert, b.bad.CertPEM(), 0o644))
		}},
		{"expired", []string{"expired"}, (*broken).replaceByBad},
		{"not-yet-valid", []string{"not_yet_valid"}, (*broken).replaceByBad},
		{"empty-ca", []string{"empty"}, func(b *broken) error { return os.Truncate(b.files.ca, 0) }},
		{"missing-ca", []string{"missing"}, func(b *broken) error { return os.Remove(b.files.ca) }},
		{"expired-ca", []string{"expired"}, func(b *broken) error { return b.put(b.files.ca, b.dead.PEM(), 0o644) }},
		{"alternating", []string{"changing", "mismatch", "missing"}, (*broken).alternate},
		{"unreadable", []string{"unreadable"}, func(b *broken) error {
			return errors.Join(b.replaceByBad(), os.Chmod(b.key, 0))
		}},
		{"garbage", []string{"too_large"}, func(b *broken) error { return b.put(b.cert, noise(0, 10_000_000), 0o644) }},
	}
}

func half(data []byte) []byte { return data[:len(data)/2] }

func (b *broken) replaceByBad() error {
	_, err := b.replace(b.bad)
	return err
}

// alternate puts certificate and key of two others in place in turn, but never those of
// the same one at the same time: who reads one file before it changes and the other one
// after that has a pair that has never been there, and would do.
func (b *broken) alternate() error {
	b.within += neverStill
	for i, id := range []*tlstest.Identity{b.bad, b.mends} {
		err := errors.Join(b.put(b.stashed("cert", i), id.CertPEM(), 0o644), b.put(b.stashed("key", i), id.KeyPEM(), 0o640))
		if err != nil {
			return err
		}
	}
	stop, done := make(chan struct{}), make(chan error, 1)
	go func() {
		var err error
		for n := 0; err == nil; n++ {
			select {
			case <-stop:
				done <- nil
				return
			case <-time.After(10 * time.Millisecond):
				err = errors.Join(os.Remove(b.cert), b.turn(b.stashed("key", n%2), b.key), b.turn(b.stashed("cert", (n+1)%2), b.cert))
			}
		}
		done <- err
	}()
	b.end = func() {
		close(stop)
		if err := <-done; err != nil {
			b.tally.add("alternate", err)
		}
	}
	return nil
}

func (b *broken) stashed(what string, n int) string {
	return filepath.Join(b.stash, fmt.Sprint(b.name, "-", what, n))
}

// turn renames another name of a file over path. It comes from another directory, so
// that there is one event.
func (b *broken) turn(from, path string) error {
	return errors.Join(os.Link(from, from+".name"), os.Rename(from+".name", path))
}

// Whatever is wrong with new files, the certificate of before serves on, without a
// request that fails, and why it does is said in all places. When they are mended, they
// are used.
func TestRotationWithBadFiles(t *testing.T) {
	leak.Check(t)
	u, why := unprivileged()
	if why != "" {
		t.Run("unreadable", func(t *testing.T) { t.Skip("SKIP ", why) })
	}
	ca, foreign := tlstest.NewCA(t, tlstest.CAOptions{}), tlstest.NewCA(t, tlstest.CAOptions{Name: "everybody's"})
	upstream, impostor := newUpstream(t, ca), newUpstream(t, foreign)
	dir := openDir(t)
	stash, system := filepath.Join(dir, "stash"), filepath.Join(dir, "system.crt")
	must(t, os.Mkdir(stash, 0o755))
	must(t, os.WriteFile(system, foreign.PEM(), 0o644))
	var all []*broken
	var text string
	for _, bad := range badRotations() {
		if bad.name == "unreadable" && why != "" {
			continue
		}
		b := prepareBroken(t, bad, u, ca, dir)
		b.stash = stash
		all = append(all, b)
		text += b.table(b.name, upstream.Addr) + route(b.name+"-impostor", b.name, impostor.Addr, "breaker = { failures = 0 }") // every request is to ask it
	}
	d := tend(t, u, text, "SSL_CERT_FILE="+system, "SSL_CERT_DIR="+stash)
	l := newLoad(t)
	for _, b := range all {
		l.run(d.addr, b.name+".test", &b.tally, "GET", 100*time.Millisecond, l.stopping, func(a *application, n int) error {
			return a.ask("GET", "/bytes?n=100"+[]string{"", "&last=1"}[n%2], nil, noise(100, 100)) // every other one ends its connection
		})
		l.run(d.addr, b.name+"-impostor.test", &b.tally, "impostor", time.Second, l.stopping, (*application).refusedByServer)
	}
	must(t, until(10*time.Second, "all certificates are shown", func() bool {
		return !slices.ContainsFunc(all, func(b *broken) bool { return upstream.Uses()[b.old.Serial()].Requests == 0 })
	}))
	for _, b := range all {
		b.at, b.told = time.Now(), map[string]string{}
		must(t, b.do(b))
	}
	for _, b := range all {
		b.verifyKept(t, upstream, false)
	}
	awaitTold(t, d, all)
	for _, b := range all {
		if b.end != nil {
			b.end()
		}
		b.verifyKept(t, upstream, true)
	}
	report := "\n| bad rotation | reason | /v1/identities | metric | log | mended |\n|---|---|---|---|---|---|\n"
	for _, b := range all {
		report += b.mend(t, upstream)
	}
	l.finish(0)
	for _, b := range all {
		for _, complaint := range b.tally.complaints {
			t.Errorf("%s: %s", b.name, complaint)
		}
	}
	if s := upstream.Stats(); s.Failed > 0 {
		t.Errorf("%d handshakes failed at the upstream: %v", s.Failed, upstream.Failures())
	}
	if s := impostor.Stats(); s.Handshakes > 0 || s.Failed == 0 {
		t.Errorf("a server that is trusted by the system alone has seen %+v, want no completed handshake and failed ones", s)
	}
	t.Log(report)
}

// prepareBroken puts an identity in place, and makes what is to be wrong with the next.
func prepareBroken(t *testing.T, bad badRotation, u account, ca *tlstest.CA, dir string) *broken {
	t.Helper()
	b := &broken{badRotation: bad, files: u.in(filepath.Join(dir, bad.name)), ca: ca, within: toldWithin}
	opts := tlstest.LeafOptions{CommonName: bad.name}
	b.old, b.mends = ca.Issue(t, opts), ca.Issue(t, opts)
	switch bad.name {
	case "expired":
		opts.NotAfter = time.Now().Add(-time.Minute)
	case "expired-ca":
		b.dead = tlstest.NewCA(t, tlstest.CAOptions{NotBefore: time.Now().AddDate(-2, 0, 0), NotAfter: time.Now().AddDate(-1, 0, 0)})
	case "not-yet-valid":
		opts.NotBefore = time.Now().Add(time.Hour)
	}
	b.bad = ca.Issue(t, opts)
	must(t, os.Mkdir(filepath.Join(dir, bad.name), 0o755))
	must(t, b.put(b.files.ca, ca.PEM(), 0o644))
	_, err := b.replace(b.old)
	must(t, err)
	return b
}

// refusedByServer wants a server not to be trusted.
func (a *application) refusedByServer(int) error {
	err := a.ask("GET", "/bytes?n=1", nil, nil)
	if r, ok := errors.AsType[*refusal](err); ok && r.status == 502 && r.class == "tls_verify_failed" {
		return nil
	}
	return fmt.Errorf("want 502 tls_verify_failed, got %w", err)
}

// awaitTold waits until the daemon has said everywhere what is wrong with each.
func awaitTold(t *testing.T, d *tended, all []*broken) {
	t.Helper()
	began, left, status := time.Now(), slices.Clone(all), ""
	for len(left) > 0 || status == "" {
		identities, err := d.admin.Identities(t.Context())
		must(t, err)
		samples, err := d.metrics(t.Context())
		must(t, err)
		if status == "" && d.manager.heard("STATUS=degraded: identity ") {
			status = time.Since(began).Round(time.Millisecond).String()
			t.Logf("STATUS= said degraded after %s", status)
		}
		late := status == "" && time.Since(began) > toldWithin
		left = slices.DeleteFunc(left, func(b *broken) bool {
			i := slices.IndexFunc(identities, func(id api.Identity) bool { return id.Name == b.name })
			b.listen(d, &identities[i], samples)
			late = late || len(b.told) < 3 && time.Since(b.at) > b.within
			return len(b.told) == 3
		})
		if late {
			for _, b := range left {
				i := slices.IndexFunc(identities, func(id api.Identity) bool { return id.Name == b.name })
				t.Errorf("%s: told only by %v after %v; the daemon says: %+v", b.name, b.told, time.Since(b.at), identities[i])
			}
			if status == "" {
				t.Errorf("STATUS= does not say degraded %v after the bad rotations", time.Since(began))
			}
			return
		}
		pause(50 * time.Millisecond)
	}
}

// listen notes where the daemon has said what is wrong.
func (b *broken) listen(d *tended, id *api.Identity, samples map[string]string) {
	note := func(where string, so bool) {
		if _, told := b.told[where]; so && !told {
			b.told[where] = time.Since(b.at).Round(time.Millisecond).String()
		}
	}
	names := slices.ContainsFunc([]string{b.cert, b.key, b.files.ca}, func(path string) bool { return strings.Contains(id.Error, path) })
	note("api", id.State == api.IdentityFailing && slices.Contains(b.reasons, id.Reason) && (names || id.Reason == "changing"))
	for _, reason := range b.reasons {
		count := samples[fmt.Sprintf("mtlsproxy_identity_load_failures_total{identity=%q,reason=%q}", b.name, reason)]
		note("metric", count != "" && count != "0")
		note("log", d.logged("event=cert_rejected", "identity="+b.name, "reason="+reason))
	}
}

// verifyKept checks that the old certificate is the only one that was shown until now,
// and with lately that it is still.
func (b *broken) verifyKept(t *testing.T, upstream *tlstest.Server, lately bool) {
	t.Helper()
	uses := upstream.Uses()
	for _, id := range []*tlstest.Identity{b.bad, b.mends} {
		if uses[id.Serial()].Handshakes > 0 {
			t.Errorf("%s: a certificate was shown that is not to be used", b.name)
		}
	}
	if lately && time.Since(uses[b.old.Serial()].LastHandshake) > 2*time.Second {
		t.Errorf("%s: the certificate of before is not shown any more: %+v", b.name, uses[b.old.Serial()])
	}
}

// mend puts good files in place, and returns the row of the report.
func (b *broken) mend(t *testing.T, upstream *tlstest.Server) string {
	t.Helper()
	var errs []error
	if content, _ := os.ReadFile(b.files.ca); !bytes.Equal(content, b.ca.PEM()) {
		errs = append(errs, b.put(b.files.ca, b.ca.PEM(), 0o644))
	}
	last, err := b.replace(b.mends)
	must(t, errors.Join(append(errs, err)...))
	var use tlstest.Use
	if err := until(2*healedWithin, "the certificate that mends it is shown", func() bool {
		use = upstream.Uses()[b.mends.Serial()]
		return use.Requests > 0
	}); err != nil {
		t.Errorf("%s: %v", b.name, err)
	}
	took := use.First.Sub(last).Round(time.Millisecond)
	if took > healedWithin {
		t.Errorf("%s: it took %v until the good files were used", b.name, took)
	}
	return fmt.Sprintf("| %s | %s | %s | %s | %s | %v |\n", b.name, strings.Join(b.reasons, ", "), b.told["api"], b.told["metric"], b.told["log"], took)
}
