package identity

import (
	"log/slog"
	"strings"
	"time"

	"github.com/mtlsproxy/mtlsproxy/tlsclient"
)

// notices remembers what was said, so that nothing is said twice.
type notices struct {
	trouble string        // the reason that was told last, as long as it lasts
	healed  bool          // it is over, and that was not told yet
	loaded  bool          // the generation in use was told of
	left    time.Duration // how much of its life the last warning was about; 0: none was
	expired bool          // its end was told of
	ranOut  bool          // that a revocation list in use has run out was told of
	static  bool          // that the files are credentials
}

// renew forgets what was said of the generation before.
func (n *notices) renew() { n.loaded, n.left, n.expired, n.ranOut = false, 0, false, false }

const day = 24 * time.Hour

// stages returns how long before its end a certificate that lives for life is spoken
// of, the longest first. For those that live short it begins with their last third.
func stages(life time.Duration) []time.Duration {
	out := []time.Duration{min(30*day, life/3)}
	for _, left := range []time.Duration{7 * day, day} {
		if left < out[0] {
			out = append(out, left)
		}
	}
	return out
}

// turn is when there will be something new to say of what is in use, or zero.
func (i *Identity) turn() time.Time {
	g := i.state.Generation
	if g == nil {
		return time.Time{}
	}
	next := i.turnOfLeaf(g)
	if end := g.CRLUntil(); !end.IsZero() && !i.notices.ranOut && (next.IsZero() || end.Before(next)) {
		next = end.Add(time.Second)
	}
	return next
}

func (i *Identity) turnOfLeaf(g *tlsclient.Generation) time.Time {
	if i.notices.expired {
		return time.Time{}
	}
	end := g.Leaf.NotAfter
	for _, left := range stages(end.Sub(g.Leaf.NotBefore)) {
		if i.notices.left == 0 || left < i.notices.left {
			return end.Add(-left)
		}
	}
	return end.Add(time.Second) // valid up to and with that second
}

// Report tells log what has not been told yet.
func (i *Identity) Report(log *slog.Logger, now time.Time) {
	i.mu.Lock()
	defer i.mu.Unlock()
	log = log.With("identity", i.files.Name)
	i.reportFiles(log)
	if i.state.Generation != nil {
		i.reportExpiry(log, now)
		i.reportLists(log, now)
	}
}

func (i *Identity) reportFiles(log *slog.Logger) {
	s, n := &i.state, &i.notices
	if i.static != "" && !n.static {
		n.static = true
		log.Info("credentials of systemd do not change before the daemon is restarted, unless systemd is 260 or later and has RefreshOnReload=credentials",
			"event", "files_static", "path", i.static)
	}
	if s.Err == nil {
		i.reportGood(log)
		return
	}
	reason := string(tlsclient.ReasonOf(s.Err))
	trouble := troubleOf(s.Err)
	if !s.Lasting || n.trouble == trouble {
		return
	}
	n.trouble = trouble
	attrs := []any{"event", "cert_rejected", "path", i.Path(), "reason", reason, "error", oneLine(s.Err)}
	if s.Generation == nil {
		log.Error("the files of an identity cannot be used; its upstreams are not asked", attrs...)
	} else {
		log.Error("the files of an identity cannot be used; what was loaded before stays in use", attrs...)
	}
}

// troubleOf is what an error is about: reasons and files, without what may change each time.
func troubleOf(err error) string {
	about := []string{string(tlsclient.ReasonOf(err))}
	for _, e := range tlsclient.LoadErrors(err) {
		about = append(about, string(e.Reason), e.Path)
	}
	return strings.Join(about, " ")
}

func (i *Identity) reportGood(log *slog.Logger) {
	g, n := i.state.Generation, &i.notices
	if g == nil || n.loaded && !n.healed {
		return
	}
	attrs := []any{
		"event", "cert_loaded", "path", i.Path(), "serial", g.Serial(),
		"not_after", g.Leaf.NotAfter.UTC().Format(time.RFC3339), "generation", g.Number,
	}
	if n.loaded {
		log.Info("the files can be used again; they hold the certificate in use", attrs...)
	} else {
		log.Info("a certificate is in use", attrs...)
	}
	n.loaded, n.healed, n.trouble = true, false, ""
}

func (i *Identity) reportLists(log *slog.Logger, now time.Time) {
	end, n := i.state.Generation.CRLUntil(), &i.notices
	if n.ranOut || end.IsZero() || !now.After(end) {
		return
	}
	n.ranOut = true
	log.Error("a revocation list in use has run out; servers of its issuer are refused", "event", "cert_expired", "path", i.files.CRL, "not_after", end.UTC().Format(time.RFC3339))
}

func (i *Identity) reportExpiry(log *slog.Logger, now time.Time) {
	leaf, n := i.state.Generation.Leaf, &i.notices
	left := leaf.NotAfter.Sub(now)
	end := leaf.NotAfter.UTC().Format(time.RFC3339)
	if left < 0 {
		if !n.expired {
			n.expired = true
			log.Error("the certificate in use has expired; its upstreams are not asked", "event", "cert_expired", "path", i.Path(), "not_after", end)
		}
		return
	}
	n.expired = false // if it was told, the clock was wrong then
	reached := time.Duration(0)
	for _, stage := range stages(leaf.NotAfter.Sub(leaf.NotBefore)) {
		if left <= stage {
			reached = stage
		}
	}
	told := n.left
	n.left = reached // the clock may have been set back
	if reached == 0 || told != 0 && reached >= told {
		return
	}
	log.Warn("the certificate in use expires soon", "event", "cert_expiring", "path", i.Path(), "not_after", end, "left", left.Round(time.Second).String())
}

// Path returns the file that the certificate is in.
func (i *Identity) Path() string {
	if i.files.PKCS12 != "" {
		return i.files.PKCS12
	}
	return i.files.Cert
}

// oneLine puts what an error joins into one line.
func oneLine(err error) string { return strings.ReplaceAll(err.Error(), "\n", "; ") }
