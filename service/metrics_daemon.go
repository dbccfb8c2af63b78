package service

import (
	"maps"
	"runtime"
	"slices"

	"github.com/mtlsproxy/mtlsproxy/limiter"
	"github.com/mtlsproxy/mtlsproxy/service/admin/api"
)

// daemonFamilies are about the daemon as a whole.
func daemonFamilies() []Family {
	return []Family{
		{"build_info", "gauge", "Always 1.", []string{"version", "go"}, func(s *scrape, e emit) { e(1, s.version, runtime.Version()) }},
		{"ready", "gauge", "Whether the daemon takes requests and has a route for them.", nil, func(s *scrape, e emit) { e(one(s.health.Ready)) }},
		{"phase", "gauge", "1 for the phase that the daemon is in.", []string{"phase"}, func(s *scrape, e emit) {
			for p := Starting; p <= Stopping; p++ {
				e(one(s.phase == p), p.String())
			}
		}},
		{"health", "gauge", "1 for the state that the daemon is in; status tells the reasons.", []string{"state"}, func(s *scrape, e emit) {
			for _, state := range []string{api.Healthy, api.Degraded, api.Failing} {
				e(one(s.health.State == state), state)
			}
		}},
		{"reloads_total", "counter", "Reloads of the configuration.", []string{"result"}, func(s *scrape, e emit) {
			e(float64(s.history.ok), "ok")
			e(float64(s.history.failed), "failed")
		}},
		{"config_loaded_timestamp_seconds", "gauge", "When the configuration in effect was loaded.", nil, func(s *scrape, e emit) { e(epoch(s.world.loaded)) }},
		{"config_last_reload_ok", "gauge", "Whether the last reload succeeded; 1 if there was none.", nil, func(s *scrape, e emit) { e(one(s.history.healthy())) }},
		{"events_total", "counter", "Events logged.", []string{"level"}, func(s *scrape, e emit) {
			e(float64(s.events.Debug), "debug")
			e(float64(s.events.Info), "info")
			e(float64(s.events.Warn), "warn")
			e(float64(s.events.Error), "error")
		}},
		{"events_dropped_total", "counter", "Events that the journal was too slow to take.", nil, func(s *scrape, e emit) { e(float64(s.eventsDropped)) }},
		{"limit_capacity", "gauge", "How much a limit allows.", []string{"limit", "subject"}, eachBound(func(l *api.Limit) int64 { return l.Capacity })},
		{"limit_used", "gauge", "How much of a limit is in use.", []string{"limit", "subject"}, eachBound(func(l *api.Limit) int64 { return l.Used })},
		{"limit_rejected_total", "counter", "What a limit has turned away, by reason: full, queue_full, timeout, caller, rate or too_large.", []string{"limit", "subject", "reason"}, func(s *scrape, e emit) {
			for _, l := range s.limits {
				if len(l.RejectedBy) == 0 {
					e(float64(l.Rejected), l.Name, l.Subject, limiter.Full.Error())
				}
				for _, reason := range slices.Sorted(maps.Keys(l.RejectedBy)) {
					e(float64(l.RejectedBy[reason]), l.Name, l.Subject, reason)
				}
			}
		}},
	}
}

// eachBound leaves out limits of which nobody knows how much they allow.
func eachBound(value func(*api.Limit) int64) func(*scrape, emit) {
	return func(s *scrape, e emit) {
		for i := range s.limits {
			if l := &s.limits[i]; l.Capacity > 0 {
				e(float64(value(l)), l.Name, l.Subject)
			}
		}
	}
}

// keptFamilies are about the request log.
func keptFamilies() []Family {
	return []Family{
		{"log_written_total", "counter", "Records written to the request log.", nil, func(s *scrape, e emit) { e(float64(s.log.Written)) }},
		{"log_dropped_total", "counter", "Records that the request log could not keep.", nil, func(s *scrape, e emit) { e(float64(s.log.Dropped)) }},
		{"log_records", "gauge", "Records in the request log.", nil, func(s *scrape, e emit) { e(float64(s.log.Records)) }},
		{"log_bytes", "gauge", "Size of the request log on disk.", nil, func(s *scrape, e emit) { e(float64(s.log.Bytes)) }},
		{"log_max_bytes", "gauge", "Size that the request log may have on disk.", nil, func(s *scrape, e emit) { e(float64(s.log.MaxBytes)) }},
		{"log_segments", "gauge", "Files of the request log.", nil, func(s *scrape, e emit) { e(float64(len(s.log.Segments))) }},
		{"log_quarantined", "gauge", "Damaged files of the request log that were put aside.", nil, func(s *scrape, e emit) { e(float64(len(s.log.Quarantined))) }},
		{"log_lag_seconds", "gauge", "Age of the oldest record that is not written yet.", nil, func(s *scrape, e emit) { e(s.log.Lag) }},
		{"log_buffered_bytes", "gauge", "Memory taken by records that are not written yet.", nil, func(s *scrape, e emit) { e(float64(s.log.Buffered)) }},
		{"log_failing", "gauge", "Whether the request log cannot be written at present.", nil, func(s *scrape, e emit) { e(one(s.log.Error != "")) }},
	}
}
