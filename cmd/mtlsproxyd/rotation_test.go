package main

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/mtlsproxy/mtlsproxy/service/admin/api"
	"github.com/mtlsproxy/mtlsproxy/tlsclient/tlstest"
	"github.com/mtlsproxy/mtlsproxy/tlsclient/tlstest/leak"
)

const (
	rotationRate  = 300 // requests a second in all, besides downloads and messages
	rotationPause = 300 * time.Millisecond
	retireTimeout = 5 * time.Second // more than a download takes
	arrival       = time.Second     // from the last write to the first handshake
	pollEvery     = 2 * time.Second
	// underWay is granted to what had begun when the new certificate was seen first: it
	// is one process that counts both, on a machine that has other things to do as well.
	underWay = 250 * time.Millisecond
)

// rotated is an identity that is rotated again and again under traffic.
type rotated struct {
	way
	placing
	daemon    *tended
	upstream  *tlstest.Server
	tally     tally
	limit     time.Duration       // for arrival
	tunnel    bool                // a websocket shows the first certificate to the end
	ids       []*tlstest.Identity // in the order in which they are shown
	latencies []time.Duration
}

// However the files are replaced, and although requests of all kinds never stop: none
// fails, none is cut short, the next handshake has the new certificate within a second,
// and the old one is not shown any more.
func TestRotationLosesNoRequest(t *testing.T) {
	leak.Check(t)
	ca := tlstest.NewCA(t, tlstest.CAOptions{})
	all := prepareRotations(t, ca)
	l := newLoad(t)
	every := time.Duration(len(all)*(getters+posters)) * time.Second / rotationRate
	for _, r := range all {
		l.mixed(r.daemon.addr, r.name+".test", &r.tally, every)
	}
	for i := range 10 {
		r := all[i%len(all)]
		l.downloads(r.daemon.addr, r.name+".test", &r.tally, i)
	}
	all[0].tunnel = true
	l.websocket(all[0].daemon.addr, all[0].name+".test", &all[0].tally)
	var rotating sync.WaitGroup
	for _, r := range all {
		rotating.Go(func() {
			if err := r.rotate(t); err != nil {
				t.Errorf("%s: %v", r.name, err)
			}
		})
	}
	rotating.Wait()
	for _, r := range all {
		r.verifyWatch(t)
	}
	l.finish(retireTimeout + underWay)
	report := "\n| rotation | times | requests | failed | cut | new, median | longest | old request | old closed |\n|---|---|---|---|---|---|---|---|---|\n"
	for _, r := range all {
		report += r.verify(t)
	}
	t.Log(report)
}

// prepareRotations puts the first identity of each way in place, and starts the daemons:
// one for those that are watched, and one that may not read the directory.
func prepareRotations(t *testing.T, ca *tlstest.CA) []*rotated {
	t.Helper()
	dir := openDir(t)
	var all []*rotated
	prepare := func(w way, u account, rotations int) (text string) {
		r := &rotated{way: w, upstream: newUpstream(t, ca), limit: arrival}
		r.dir = filepath.Join(dir, w.name)
		r.placing.files = w.files(u, r.dir)
		for i := range rotations + 1 {
			opts := tlstest.LeafOptions{CommonName: w.name}
			if i%4 == 3 {
				opts.Key = r.ids[i-1].Key // renewed, not replaced
			}
			r.ids = append(r.ids, ca.Issue(t, opts))
		}
		must(t, os.Mkdir(r.dir, 0o755))
		must(t, os.WriteFile(r.ca, ca.PEM(), 0o644))
		_, err := w.replace(&r.placing, r.ids[0], 0)
		must(t, err)
		all = append(all, r)
		return r.table(w.name, r.upstream.Addr, fmt.Sprintf("pool.retire_timeout = %q", retireTimeout))
	}
	var text string
	for _, w := range ways() {
		text += prepare(w, account{}, 20)
	}
	watched := tend(t, account{}, text)
	for _, r := range all {
		r.daemon = watched
		r.refused = func() error {
			return until(5*time.Second, "the daemon refuses the key for its mode", func() bool {
				id, err := watched.identity(t.Context(), r.name)
				return err == nil && id.State == api.IdentityFailing && id.Reason == "mode"
			})
		}
	}
	u, why := unprivileged()
	if why != "" {
		t.Run("polled", func(t *testing.T) { t.Skip("SKIP ", why) })
		return all
	}
	w := ways()[0]
	w.name = "polled"
	text = prepare(w, u, 10) + fmt.Sprintf("[reload]\npoll = %q\n", pollEvery)
	polled := all[len(all)-1]
	must(t, os.Chmod(polled.dir, 0o311)) // to go through, not to read
	t.Cleanup(func() { _ = os.Chmod(polled.dir, 0o755) })
	polled.daemon, polled.limit = tend(t, u, text), pollEvery+arrival
	return all
}

// rotate puts one identity after the other in place, and waits for each to be shown.
func (r *rotated) rotate(t *testing.T) error {
	pause(rotationPause)
	for n, id := range r.ids[1:] {
		last, err := r.replace(&r.placing, id, n+1)
		if err != nil {
			return err
		}
		var use tlstest.Use
		if err := until(3*r.limit, fmt.Sprintf("certificate %d is shown", n+1), func() bool {
			use = r.upstream.Uses()[id.Serial()]
			return !use.First.IsZero()
		}); err != nil {
			state, _ := r.daemon.identity(t.Context(), r.name)
			return fmt.Errorf("%w; the daemon says: %+v", err, state)
		}
		r.latencies = append(r.latencies, use.First.Sub(last))
		pause(rotationPause)
	}
	return nil
}

// verifyWatch checks what the daemon says of how the files are watched.
func (r *rotated) verifyWatch(t *testing.T) {
	t.Helper()
	id, err := r.daemon.identity(t.Context(), r.name)
	must(t, err)
	if r.name == "polled" {
		if id.Watch != api.WatchPolling || !strings.Contains(id.WatchWhy, "no permission to read directory") {
			t.Errorf("%s: it says that the files are watched by %q, %q", r.name, id.Watch, id.WatchWhy)
		}
	} else if id.Watch != api.WatchInotify {
		t.Errorf("%s: it says that the files are watched by %q, %q", r.name, id.Watch, id.WatchWhy)
	}
	if id.State != api.IdentityOK || id.Serial != r.ids[len(r.ids)-1].Serial() {
		t.Errorf("%s: in the end it says %+v", r.name, id)
	}
}

// verify checks what the upstream has seen, and returns the row of the report.
func (r *rotated) verify(t *testing.T) string {
	t.Helper()
	for _, complaint := range r.tally.complaints {
		t.Errorf("%s: %s", r.name, complaint)
	}
	if failed := r.upstream.Stats().Failed; failed > 0 {
		t.Errorf("%s: %d handshakes failed: %v", r.name, failed, r.upstream.Failures())
	}
	uses := r.upstream.Uses()
	var request, closed time.Duration // after the swap
	for n, id := range r.ids[:len(r.ids)-1] {
		old, swap := uses[id.Serial()], uses[r.ids[n+1].Serial()].First
		if swap.IsZero() || old.Handshakes == 0 {
			t.Errorf("%s: certificate %d of %d was not shown", r.name, n, len(r.ids))
			continue
		}
		if late := old.LastHandshake.Sub(swap); late > underWay {
			t.Errorf("%s: certificate %d was shown in a handshake %v after the next one", r.name, n, late)
		}
		request = max(request, old.LastRequest.Sub(swap))
		if n == 0 && r.tunnel {
			if old.Open == 0 && old.Closed.Before(swap.Add(retireTimeout)) {
				t.Errorf("%s: the websocket did not keep its certificate: %+v", r.name, old)
			}
			continue
		}
		if old.Open > 0 {
			t.Errorf("%s: %d connections of certificate %d are open", r.name, old.Open, n)
		}
		closed = max(closed, old.Closed.Sub(swap))
	}
	if request > underWay {
		t.Errorf("%s: a request showed a certificate %v after the next one", r.name, request)
	}
	if closed > retireTimeout+underWay {
		t.Errorf("%s: a connection stayed for %v after the next certificate", r.name, closed)
	}
	if len(uses) != len(r.ids) {
		t.Errorf("%s: %d certificates were shown, want %d", r.name, len(uses), len(r.ids))
	}
	slices.Sort(r.latencies)
	if len(r.latencies) == 0 {
		return ""
	}
	longest, median := r.latencies[len(r.latencies)-1], r.latencies[len(r.latencies)/2]
	if longest > r.limit {
		t.Errorf("%s: %v from the last write to the first handshake, want at most %v", r.name, longest, r.limit)
	}
	const ms = time.Millisecond
	return fmt.Sprintf("| %s | %d | %d | %d | %d | %v | %v | %v | %v |\n", r.name, len(r.latencies), r.tally.requests, r.tally.failed, r.tally.cut,
		median.Round(ms), longest.Round(ms), max(0, request).Round(ms), max(0, closed).Round(ms))
}
