package service

import (
	"fmt"
	"time"

	"github.com/mtlsproxy/mtlsproxy/service/admin/api"
	"github.com/mtlsproxy/mtlsproxy/tlsclient"
)

func describeEndpoint(s *tlsclient.EndpointState, now time.Time) api.Endpoint {
	e := api.Endpoint{
		Address: s.Address, IPs: texts(s.IPs), Pending: s.Pending, Idle: s.Idle, Busy: s.Busy,
		Attempts: s.Attempts, Failures: s.Failures,
		Breaker: string(s.Breaker), InARow: s.ConsecutiveFailures, Opened: s.Opened, Probes: s.Probes, Share: s.Share,
	}
	e.State, e.Why = standing(s, now)
	if e.State == api.EndpointShunned {
		until := s.Until.UTC()
		e.Until = &until
	}
	if text, at := lastError(s); text != "" {
		at = at.UTC()
		e.LastError, e.LastTime = text, &at
	}
	if h := &s.Health; h.Checked {
		e.Health = &api.Checks{Time: h.Time.UTC(), Ill: h.Ill, Passed: h.Passed, Failed: h.Failed}
		if h.Last != nil {
			e.Health.Error = h.Last.Error()
		}
	}
	return e
}

// standing is in which state an endpoint is, and why if it is not up.
func standing(s *tlsclient.EndpointState, now time.Time) (state, why string) {
	last, _ := lastError(s)
	switch {
	case s.Drained:
		return api.EndpointDrained, "drained by hand; resume it with: mtlsproxyctl resume"
	case len(s.IPs) == 0 && s.NoIP != nil:
		return api.EndpointUnnamed, s.NoIP.Error()
	case s.Health.Ill && s.Health.Last == nil:
		return api.EndpointIll, "it has failed its health checks; the last was good, but it takes some more of them"
	case s.Health.Ill:
		return api.EndpointIll, "it fails its health checks; the last: " + s.Health.Last.Error()
	case s.Breaker == tlsclient.Open:
		return api.EndpointShunned, last + inARow(s)
	case s.Breaker == tlsclient.HalfOpen:
		return api.EndpointHalfOpen, "one exchange is to find out whether it has recovered; before: " + last + inARow(s)
	case cannotConnect(s, now):
		return api.EndpointDown, ownDoing(s.Unmade)
	case s.Down:
		return api.EndpointDown, last
	case s.Health.Checked && s.Health.Last != nil:
		return api.EndpointFailing, "its last health check failed: " + s.Health.Last.Error()
	case s.Share < 1:
		return api.EndpointRecovering, fmt.Sprintf("it has just recovered, and gets %.0f %% of its share of exchanges for now", 100*s.Share)
	case s.Attempts == 0 && !s.Health.Checked:
		return api.EndpointUnknown, ""
	}
	return api.EndpointUp, ""
}

// inARow says how many failures have opened a breaker, if that takes more than one.
func inARow(s *tlsclient.EndpointState) string {
	if s.ConsecutiveFailures < 2 {
		return ""
	}
	return fmt.Sprintf("; %d failures in a row", s.ConsecutiveFailures)
}

// unmadeTime is how long it counts that this host could not make a connection to an
// endpoint, if there are others to it on which exchanges go on.
const unmadeTime = 10 * time.Second

// cannotConnect reports whether this host is what keeps exchanges from an endpoint.
func cannotConnect(s *tlsclient.EndpointState, now time.Time) bool {
	return s.Unmade != nil && (s.Idle+s.Busy == 0 || now.Sub(s.UnmadeTime) < unmadeTime)
}

// lastError is what went wrong with an endpoint last, whoever was at fault.
func lastError(s *tlsclient.EndpointState) (text string, at time.Time) {
	switch {
	case s.Unmade != nil && s.UnmadeTime.After(s.LastTime):
		return ownDoing(s.Unmade), s.UnmadeTime
	case s.LastError != nil:
		return fmt.Sprintf("%s: %v", s.LastError.Class, s.LastError.Err), s.LastTime
	}
	return "", time.Time{}
}

// ownDoing is an error of connecting that is no fault of the endpoint's.
func ownDoing(e *tlsclient.Error) string {
	return fmt.Sprintf("%s: this host could not make a connection: %v; see source of the upstream, and LimitNOFILE", e.Class, e.Err)
}
