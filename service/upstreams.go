package service

import (
	"crypto/x509"
	"net/netip"
	"time"

	"github.com/mtlsproxy/mtlsproxy/journal"
	"github.com/mtlsproxy/mtlsproxy/service/admin/api"
	"github.com/mtlsproxy/mtlsproxy/service/config"
	"github.com/mtlsproxy/mtlsproxy/tlsclient"
)

// Upstreams implements admin.Viewer.
func (b backend) Upstreams() []api.Upstream {
	w := b.world.Load()
	now := time.Now()
	out := []api.Upstream{}
	for _, c := range w.config.Upstreams {
		s := w.upstreams[c.Name].client.State()
		u := api.Upstream{
			Name: c.Name, Identity: c.Identity, ServerName: c.ServerName, Endpoints: []api.Endpoint{},
			Pool: api.Pool{
				Max: c.Pool.Max, Open: s.Open, Idle: s.Idle, Busy: s.Open - s.Idle, Waiting: s.Waiting,
				Opened: s.Opened, Reused: s.Reused, Closed: s.Closed,
			},
			Handshakes: s.Opened, Resumed: s.Resumed, Retries: s.Retries, Retried: s.Retried,
		}
		if c.Via != nil {
			u.Via = c.Via.String()
		}
		if s.Generation != nil {
			u.Generation, u.Refused = s.Generation.Number, s.Generations[0].Refused
		}
		for i := range s.Endpoints {
			e := describeEndpoint(&s.Endpoints[i], now)
			if u.Via != "" {
				e.IPs = []string{} // those that are known are the proxy's
			}
			u.Endpoints = append(u.Endpoints, e)
		}
		out = append(out, u)
	}
	return out
}

// suspect makes the event of an upstream whose answers do not look as if it accepted
// the certificate.
func (s *Service) suspect(c *config.Upstream) func(*tlsclient.Generation, int) {
	name, identity := c.Name, c.Identity
	return func(g *tlsclient.Generation, answers int) {
		s.Log.Warn("every answer so far has been 400, 401 or 403: does the upstream accept the certificate?", "event", journal.UpstreamRefuses,
			"upstream", name, "identity", identity, "serial", g.Serial(), "generation", g.Number, "answers", answers,
			"hint", "mtlsproxyctl certs probe "+identity+", or the upstream's log")
	}
}

func texts(ips []netip.Addr) []string {
	out := make([]string, len(ips))
	for i, ip := range ips {
		out[i] = ip.String()
	}
	return out
}

// sans lists the subject alternative names of a certificate, RFC 5280 4.2.1.6.
func sans(c *x509.Certificate) []string {
	out := []string{}
	for _, n := range c.DNSNames {
		out = append(out, "DNS:"+n)
	}
	for _, ip := range c.IPAddresses {
		out = append(out, "IP:"+ip.String())
	}
	for _, u := range c.URIs {
		out = append(out, "URI:"+u.String())
	}
	for _, m := range c.EmailAddresses {
		out = append(out, "email:"+m)
	}
	return out
}
