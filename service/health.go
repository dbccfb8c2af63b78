package service

import (
	"fmt"
	"time"

	"github.com/mtlsproxy/mtlsproxy/service/admin/api"
)

// diagnosis collects what is wrong.
type diagnosis struct{ reasons []api.Reason }

func (d *diagnosis) add(state, subject, message, hint string) {
	d.reasons = append(d.reasons, api.Reason{State: state, Subject: subject, Message: message, Hint: hint})
}

// Health implements admin.Viewer.
func (b backend) Health() api.Health {
	w, phase := b.world.Load(), b.phase.present()
	d := diagnosis{reasons: []api.Reason{}}
	d.phase(phase)
	if len(w.config.Routes) == 0 {
		d.add(api.Failing, "configuration", "there is no route, so every request is answered with 503", "write a [[route]], then reload")
	}
	d.identities(w, b.Identities())
	b.checkUpstreams(&d)
	d.refusals(w)
	b.checkConfig(&d)
	d.rules(w)
	b.checkLog(&d, w)
	h := api.Health{
		Live: true, Ready: (phase == Running || phase == Reloading) && len(w.config.Routes) > 0,
		State: api.Healthy, Reasons: d.reasons,
	}
	for _, r := range d.reasons {
		if r.State == api.Failing || h.State == api.Healthy {
			h.State = r.State
		}
	}
	return h
}

func (d *diagnosis) phase(p Phase) {
	switch p {
	case Starting:
		d.add(api.Failing, "daemon", "it has not begun to serve", "")
	case Draining, Stopping:
		d.add(api.Failing, "daemon", "it takes no new connections: it is "+p.String(), "start it again once it has ended")
	}
}

// identities complains about certificates that cannot be used, or not for long. Files
// that do not fit each other for a moment are what every rotation looks like.
func (d *diagnosis) identities(w *world, list []api.Identity) {
	for i := range list {
		id := &list[i]
		subject := fmt.Sprintf("identity %q", id.Name)
		const replace = "put a certificate and its key in place; they are noticed"
		if id.State == api.IdentityUnavailable {
			d.add(api.Degraded, subject, "it cannot be used, and its upstreams are not asked: "+id.Error, replace)
			continue
		}
		if id.CRLUntil != nil && time.Now().After(*id.CRLUntil) {
			d.add(api.Degraded, subject, "a revocation list ran out on "+id.CRLUntil.Format(time.RFC3339)+"; servers of its issuer are refused", "put the next list in place of "+id.CRL+"; it is noticed")
		}
		expired := id.State == api.IdentityExpired
		if expired {
			d.add(api.Degraded, subject, "its certificate expired on "+id.NotAfter.Format(time.RFC3339)+"; its upstreams are not asked", replace)
		}
		if id.Error != "" && w.identities[id.Name].State().Lasting {
			message := "its files cannot be used, and the certificate of before serves on: "
			if expired {
				message = "its files cannot be used, and do not replace it: "
			}
			d.add(api.Degraded, subject, message+id.Error, "mend them; they are tried again and again")
		}
		if left := time.Until(id.NotAfter); !expired && expiring(left, id.NotAfter.Sub(id.NotBefore)) {
			d.add(api.Degraded, subject, fmt.Sprintf("its certificate expires on %s, in %v", id.NotAfter.Format(time.RFC3339), left.Round(time.Minute)), replace)
		}
	}
}

// checkUpstreams complains about upstreams that get no exchanges through.
func (b backend) checkUpstreams(d *diagnosis) {
	for _, u := range b.Upstreams() {
		bad := 0
		why := ""
		for _, e := range u.Endpoints {
			if !api.Usable(e.State) {
				bad++
				why = e.Address + ": " + e.State + ": " + e.Why
			}
		}
		subject := fmt.Sprintf("upstream %q", u.Name)
		switch {
		case bad == len(u.Endpoints):
			d.add(api.Degraded, subject, "none of its endpoints can be used; "+why, "mtlsproxyctl upstreams shows each")
		case bad > 0:
			d.add(api.Degraded, subject, fmt.Sprintf("%d of its %d endpoints cannot be used; %s", bad, len(u.Endpoints), why), "mtlsproxyctl upstreams shows each")
		case u.Pool.Waiting > 0:
			d.add(api.Degraded, subject, fmt.Sprintf("all %d connections are busy, and %d exchanges wait", u.Pool.Max, u.Pool.Waiting), "raise pool.max, or find out why it is slow")
		}
	}
}

// refusals complains about upstreams that seem not to accept the certificate. Servers
// that make their handshake with everybody tell in no other way.
func (d *diagnosis) refusals(w *world) {
	for _, c := range w.config.Upstreams {
		for _, s := range w.upstreams[c.Name].client.State().Generations {
			if !s.Until.IsZero() || !s.Suspicious() { // of those that were replaced, nothing is asked any more
				continue
			}
			d.add(api.Degraded, fmt.Sprintf("upstream %q", c.Name),
				fmt.Sprintf("every one of the %d answers since generation %d of identity %q came into use has been 400, 401 or 403: does it accept serial %s?",
					s.Refused, s.Generation.Number, c.Identity, s.Generation.Serial()),
				"mtlsproxyctl certs probe "+c.Identity+" tells more, or the upstream's log; any other answer ends this")
		}
	}
}

// checkConfig complains about reloads that failed and would fail.
func (b backend) checkConfig(d *diagnosis) {
	if h := b.history.get(); !h.healthy() {
		d.add(api.Degraded, "configuration", fmt.Sprintf("the last reload, %s, failed: %s", ago(h.last.Time), h.last.Errors[0]), "mend it and reload again; mtlsproxyctl check tells whether it will do")
		return
	}
	if _, err := b.onDisk(); err != nil {
		d.add(api.Degraded, "configuration", "what is on disk cannot be loaded, so a restart would fail: "+Lines(err)[0], "mtlsproxyctl check tells all that is wrong")
	}
}

// rules complains about rules that name nobody who exists. They are looked up by a start
// and by a reload alone.
func (d *diagnosis) rules(w *world) {
	for _, note := range w.access.notes() {
		d.add(api.Degraded, "configuration", note, "reload after that: names are looked up then, and at a start")
	}
}

// checkLog complains about a request log that loses records.
func (b backend) checkLog(d *diagnosis, w *world) {
	if w.unlogged != "" {
		d.add(api.Degraded, "request log", w.unlogged, "")
		return
	}
	s := b.LogStats()
	if s.Error != "" {
		d.add(api.Degraded, "request log", s.Error, "requests are served; their records are dropped until it can be written again")
	}
	for _, q := range s.Quarantined {
		d.add(api.Degraded, "request log", fmt.Sprintf("segment %s was damaged and put aside: %s", q.Name, q.Why), "remove the file once nobody needs it")
	}
}
