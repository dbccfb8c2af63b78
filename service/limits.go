package service

import (
	"fmt"
	"os"
	"syscall"

	"github.com/mtlsproxy/mtlsproxy/service/admin/api"
)

// Limits implements admin.Viewer.
func (b backend) Limits() []api.Limit {
	w := b.world.Load()
	var out []api.Limit
	for _, c := range w.config.Upstreams {
		s := w.upstreams[c.Name].client.State()
		out = append(out, api.Limit{
			Name: "pool.max", Subject: fmt.Sprintf("upstream %s", c.Name), Unit: "connections",
			Capacity: int64(c.Pool.Max), Used: int64(s.Open), Waiting: int64(s.Waiting), Rejected: s.Rejected,
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

// descriptors is the process's bound on open files, getrlimit(2).
func descriptors() []api.Limit {
	var most syscall.Rlimit
	open, err := os.ReadDir("/proc/self/fd")
	if err != nil || syscall.Getrlimit(syscall.RLIMIT_NOFILE, &most) != nil {
		return nil
	}
	return []api.Limit{{Name: "LimitNOFILE", Subject: "process", Unit: "descriptors", Capacity: int64(min(most.Cur, 1<<62)), Used: int64(len(open))}}
}
