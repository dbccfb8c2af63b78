package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"time"
)

// logStats is what the daemon's admin API tells of its request log, as far as it matters here.
type logStats struct {
	Enabled  bool   `json:"enabled"`
	Written  uint64 `json:"written"`
	Dropped  uint64 `json:"dropped"`
	Buffered int64  `json:"buffered_bytes"`
	Error    string `json:"error"`
}

// known is how many requests the log has heard of.
func (s logStats) known() uint64 { return s.Written + s.Dropped }

// trouble is what the log itself says is wrong, to be put behind a message.
func (s logStats) trouble() string {
	if s.Error == "" {
		return ""
	}
	return ": " + s.Error
}

// requestLog compares the records a proxy has kept with the requests it has answered.
type requestLog struct {
	ask func(context.Context) (logStats, error)

	last   logStats // when it was at rest last
	kept   int64    // records since the start of the measurement
	lost   int64    // requests without one
	faults []error
}

const (
	logSettles = 10 * time.Second      // bounds the wait for records
	logAskedIn = 50 * time.Millisecond // often enough, and no load to speak of
)

// newRequestLog waits for the record of the request by which the proxy was found ready; what
// is counted begins after it.
func newRequestLog(ctx context.Context, ask func(context.Context) (logStats, error)) (*requestLog, error) {
	l := &requestLog{ask: ask}
	first, err := l.await(ctx, func(s logStats) bool { return !s.Enabled || s.known() > 0 && s.Buffered == 0 })
	switch {
	case err != nil:
		return nil, err
	case !first.Enabled:
		return nil, fmt.Errorf("it keeps no request log, and would look faster than it is; look for log.enabled in -daemon-args%s", first.trouble())
	case first.known() == 0:
		return nil, fmt.Errorf("no record within %v of the first request%s", logSettles, first.trouble())
	}
	l.last = first
	return l, nil
}

// settle waits until the log knows of that many more requests than the last time. That it
// does not, or had to drop records, is noted among the faults.
func (l *requestLog) settle(ctx context.Context, requests int64) error {
	want := l.last.known() + uint64(requests)
	now, err := l.await(ctx, func(s logStats) bool { return s.known() >= want })
	if err != nil {
		return err
	}
	written, dropped := int64(now.Written-l.last.Written), int64(now.Dropped-l.last.Dropped)
	l.last = now
	l.kept += written
	l.lost += requests - written
	if written != requests || dropped != 0 {
		l.faults = append(l.faults, fmt.Errorf("the request log has written %d records and dropped %d for %d requests%s",
			written, dropped, requests, now.trouble()))
	}
	return nil
}

// await asks until the answer is good or time is up, and returns the last one.
func (l *requestLog) await(ctx context.Context, good func(logStats) bool) (logStats, error) {
	end := time.Now().Add(logSettles)
	for {
		s, err := l.ask(ctx)
		if err != nil || good(s) || time.Now().After(end) {
			return s, err
		}
		select {
		case <-ctx.Done():
			return s, ctx.Err()
		case <-time.After(logAskedIn):
		}
	}
}

// adminSocket returns how to ask for the stats on a daemon's admin socket. The connection is
// not kept: an idle one would be the daemon's to hold and to time out.
func adminSocket(path string) func(context.Context) (logStats, error) {
	var dialer net.Dialer
	client := &http.Client{Timeout: logSettles, Transport: &http.Transport{
		DisableKeepAlives: true,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return dialer.DialContext(ctx, "unix", path)
		},
	}}
	return func(ctx context.Context) (logStats, error) {
		s, err := fetchStats(ctx, client)
		if err != nil {
			err = fmt.Errorf("asking admin socket %q about the request log: %w", path, err)
		}
		return s, err
	}
}

func fetchStats(ctx context.Context, client *http.Client) (s logStats, err error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://mtlsproxy/v1/log/stats", http.NoBody)
	if err != nil {
		return s, err
	}
	resp, err := client.Do(req)
	if err != nil {
		return s, err
	}
	defer func() { _ = resp.Body.Close() }() // it was only read
	if resp.StatusCode != http.StatusOK {
		return s, fmt.Errorf("it answers %s", resp.Status)
	}
	return s, json.NewDecoder(resp.Body).Decode(&s)
}

// account adds what a proxy's request log kept and lost to the results.
func (b *bench) account(n int, p *running) {
	if p.log == nil {
		return
	}
	b.results.count(n, p.peer.name, "log.kept", p.log.kept)
	b.results.count(n, p.peer.name, "log.lost", p.log.lost)
	for _, fault := range p.log.faults {
		fault = fmt.Errorf("%s, N = %d: %w", p.peer.name, n, fault)
		b.say("FAIL %v", fault)
		b.faults = append(b.faults, fault)
	}
}
