package service

import (
	"fmt"
	"os"
	"slices"
	"syscall"
	"time"

	"github.com/mtlsproxy/mtlsproxy/limiter"
	"github.com/mtlsproxy/mtlsproxy/service/admin/api"
	"github.com/mtlsproxy/mtlsproxy/service/config"
	"github.com/mtlsproxy/mtlsproxy/tlsclient"
)

// Limits implements admin.Viewer.
func (b backend) Limits() []api.Limit {
	w := b.world.Load()
	out := b.clientLimits()
	for i := range w.config.Routes {
		out = append(out, b.routeLimits(&w.config.Routes[i])...)
	}
	for _, c := range w.config.Upstreams {
		s := w.upstreams[c.Name].client.State()
		out = append(out, api.Limit{
			Name: "pool.max", Subject: fmt.Sprintf("upstream %s", c.Name), Unit: "connections",
			Capacity: int64(c.Pool.Max), Used: int64(s.Open), Waiting: int64(s.Waiting), Rejected: s.Rejected,
		}, api.Limit{ // its capacity comes and goes with the requests
			Name: "retry.budget", Subject: fmt.Sprintf("upstream %s", c.Name), Unit: "retries", Rejected: s.Retried[tlsclient.RetryOverBudget],
		})
	}
	if w.records != nil {
		s := w.records.Stats()
		out = append(out,
			api.Limit{Name: "log.buffer", Subject: "request log", Unit: "bytes", Capacity: s.Buffer, Used: s.BufferUsed, Rejected: s.Dropped},
			api.Limit{Name: "log.max_size", Subject: "request log", Unit: "bytes", Capacity: s.MaxBytes, Used: s.Bytes})
	}
	out = append(out, b.admin.Limits()...)
	if len(w.config.Metrics.Addresses) > 0 {
		out = append(out, b.Service.metrics.Limits()...)
	}
	return append(out, descriptors()...)
}

// clientLimits are those of [limits] that hold for all clients together.
func (b backend) clientLimits() []api.Limit {
	const subject = "clients"
	c, m := b.bounds.connections.Stats(), b.bounds.memory.Stats()
	l, over := &b.world.Load().config.Limits, &b.front.Oversized
	return inForce([]api.Limit{
		limit(c, "limits.connections", subject, "connections", c.Capacity, c.Used, limiter.Full),
		limit(c, "limits.connections_per_caller", subject, "connections", c.KeyCapacity, c.KeyUsed, limiter.Caller),
		limit(m, "limits.memory", subject, "bytes", m.Capacity, m.Used, limiter.Full),
		sizeLimit("limits.header_bytes", subject, "bytes", l.HeaderBytes, over.Heads.Load()),
		sizeLimit("limits.header_fields", subject, "fields", int64(l.HeaderFields), over.Fields.Load()),
		sizeLimit("limits.target_bytes", subject, "bytes", l.TargetBytes, over.Targets.Load()),
	})
}

// routeLimits are the limits that a route has. Of what each key may have, the one that
// has most is shown.
func (b backend) routeLimits(r *config.Route) (out []api.Limit) {
	subject := "route " + r.Name
	rate, gate, tooLarge := b.bounds.of(r.Name)
	if rate != nil {
		s := rate.Stats(time.Now())
		out = append(out, limit(s, "limit.rate", subject, "requests", s.KeyCapacity, s.KeyUsed, limiter.RateExceeded))
	}
	if gate != nil {
		s := gate.Stats()
		in := limit(s, "limit.in_flight", subject, "exchanges", s.Capacity, s.Used, limiter.Full)
		in.Waiting = s.Waiting
		out = append(out, in,
			limit(s, "limit.per_caller", subject, "exchanges", s.KeyCapacity, s.KeyUsed, limiter.Caller),
			limit(s, "limit.queue", subject, "exchanges", s.QueueCapacity, s.Waiting, limiter.QueueFull, limiter.Timeout))
	}
	if r.Limit.Body > 0 {
		out = append(out, sizeLimit("limit.body", subject, "bytes", r.Limit.Body, tooLarge))
	}
	return inForce(out)
}

// inForce leaves out what is no bound.
func inForce(list []api.Limit) []api.Limit {
	return slices.DeleteFunc(list, func(l api.Limit) bool { return l.Capacity == 0 && l.Rejected == 0 })
}

// limit is a limit with the reasons for which it has turned something away.
func limit(s limiter.Stats, name, subject, unit string, capacity, used int64, reasons ...limiter.Rejection) api.Limit {
	l := api.Limit{Name: name, Subject: subject, Unit: unit, Capacity: capacity, Used: used, RejectedBy: make(map[string]uint64)}
	for _, why := range reasons {
		l.RejectedBy[why.Error()] = s.Rejected[why]
		l.Rejected += s.Rejected[why]
	}
	return l
}

// sizeLimit is a limit of single requests: nothing of it is in use for long.
func sizeLimit(name, subject, unit string, capacity int64, tooLarge uint64) api.Limit {
	return api.Limit{Name: name, Subject: subject, Unit: unit, Capacity: capacity, Rejected: tooLarge,
		RejectedBy: map[string]uint64{"too_large": tooLarge}}
}

// descriptors is the process's bound on open files, getrlimit(2).
func descriptors() []api.Limit {
	var most syscall.Rlimit
	open, err := os.ReadDir("/proc/self/fd")
	if err != nil || syscall.Getrlimit(syscall.RLIMIT_NOFILE, &most) != nil {
		return nil
	}
	return []api.Limit{{Name: "LimitNOFILE", Subject: "process", Unit: "descriptors", Capacity: int64(min(most.Cur, 1<<62)), Used: int64(len(open))}}
}
