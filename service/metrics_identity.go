package service

import (
	"strconv"
	"time"

	"github.com/mtlsproxy/mtlsproxy/service/identity"
	"github.com/mtlsproxy/mtlsproxy/tlsclient"
)

// identityScrape is an identity as it was at one moment.
type identityScrape struct {
	name  string
	state identity.State
	uses  map[*tlsclient.Generation]int // live connections
}

func (s *scrape) addIdentity(m *member, showing []tlsclient.GenerationState) {
	i := identityScrape{name: m.Name(), state: m.State(), uses: make(map[*tlsclient.Generation]int)}
	for _, g := range showing {
		i.uses[g.Generation] += g.Idle + g.Busy + g.Tunnels
	}
	s.identities = append(s.identities, i)
}

// identityFamilies are about certificates. Those of an identity that is not loaded have
// no value, but for identity_available.
func identityFamilies() []Family {
	label := []string{"identity"}
	return []Family{
		{"identity_available", "gauge", "Whether there is a certificate in use.", label, func(s *scrape, e emit) {
			for _, i := range s.identities {
				e(one(i.state.Generation != nil), i.name)
			}
		}},
		{"identity_not_after_timestamp_seconds", "gauge", "When the certificate in use expires.", label, eachLoaded(func(i *identityScrape) float64 { return epoch(i.state.Generation.Leaf.NotAfter) })},
		{"identity_not_before_timestamp_seconds", "gauge", "When the certificate in use begins to be valid.", label, eachLoaded(func(i *identityScrape) float64 { return epoch(i.state.Generation.Leaf.NotBefore) })},
		{"identity_generation", "gauge", "Counts the loadings of the identity that changed it.", label, eachLoaded(func(i *identityScrape) float64 { return float64(i.state.Generation.Number) })},
		{"identity_loaded_timestamp_seconds", "gauge", "When the identity in use was loaded.", label, eachLoaded(func(i *identityScrape) float64 { return epoch(i.state.Loaded) })},
		{"identity_checked_timestamp_seconds", "gauge", "When the files of the identity were last read and found to be usable.", label, eachLoaded(func(i *identityScrape) float64 { return epoch(i.state.Checked) })},
		{"identity_disk_not_after_timestamp_seconds", "gauge", "When the certificate on disk expires, whether it is in use or not.", label, func(s *scrape, e emit) {
			for _, i := range s.identities {
				if i.state.Disk != nil {
					e(epoch(i.state.Disk.NotAfter), i.name)
				}
			}
		}},
		{"identity_crl_until_timestamp_seconds", "gauge", "When the first of the revocation lists in use runs out.", label, func(s *scrape, e emit) {
			for _, i := range s.identities {
				if g := i.state.Generation; g != nil && !g.CRLUntil().IsZero() {
					e(epoch(g.CRLUntil()), i.name)
				}
			}
		}},
		{"identity_files_ok", "gauge", "Whether the files of the identity could be used when they were last read, and have not expired since.", label, func(s *scrape, e emit) {
			for _, i := range s.identities {
				expired := i.state.Generation != nil && time.Now().After(i.state.Generation.Leaf.NotAfter)
				e(one(i.state.Err == nil && !expired), i.name)
			}
		}},
		{"identity_load_failures_total", "counter", "Times that the files of the identity could not be used.", []string{"identity", "reason"}, func(s *scrape, e emit) {
			for _, i := range s.identities {
				for _, reason := range tlsclient.Reasons() {
					e(float64(i.state.Failures[reason]), i.name, string(reason))
				}
			}
		}},
		{"identity_connections", "gauge", "Connections to upstreams by the generation of the identity that they show.", []string{"identity", "generation"}, func(s *scrape, e emit) {
			for _, i := range s.identities {
				for generation, n := range i.uses {
					e(float64(n), i.name, strconv.FormatUint(generation.Number, 10))
				}
			}
		}},
	}
}

func eachLoaded(value func(*identityScrape) float64) func(*scrape, emit) {
	return func(s *scrape, e emit) {
		for i := range s.identities {
			if s.identities[i].state.Generation != nil {
				e(value(&s.identities[i]), s.identities[i].name)
			}
		}
	}
}
