package service

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"os/user"
	"slices"
	"strconv"
	"time"

	"github.com/mtlsproxy/mtlsproxy/journal"
	"github.com/mtlsproxy/mtlsproxy/service/admin/api"
)

// defaultLimit is how many records a query returns that does not say.
const defaultLimit = 100

// Records implements admin.Streamer.
func (b backend) Records(ctx context.Context, v url.Values, each func(*api.Record) error) error {
	log, err := b.log()
	if err != nil {
		return err
	}
	q := journal.Query{Newest: v.Get("order") != "oldest", Limit: defaultLimit}
	if text := v.Get("limit"); text != "" {
		if q.Limit, err = strconv.Atoi(text); err != nil {
			return badQuery(err)
		}
		q.Limit = max(q.Limit, 0) // api.All is no limit, which the log writes as 0
		if text == "0" {
			return nil
		}
	}
	if q.Filter, err = filter(v); err != nil {
		return err
	}
	err = log.Query(ctx, q, func(r *journal.Record) error { return each(apiRecord(r)) })
	if errors.Is(err, journal.ErrBusy) {
		return &api.Error{Class: api.Busy, Message: err.Error(), Hint: "try again, or end a query that runs"}
	}
	if errors.Is(err, journal.ErrIncomplete) {
		return &api.Error{Class: api.Refused, Message: err.Error(), Hint: "mtlsproxyctl log stats names the segment"}
	}
	return err
}

// Tail implements admin.Streamer.
func (b backend) Tail(ctx context.Context, v url.Values, each func(*api.Record) error, lost func(uint64) error) error {
	log, err := b.log()
	if err != nil {
		return err
	}
	f, err := filter(v)
	if err != nil {
		return err
	}
	f.From, f.To = time.Time{}, time.Time{}
	for {
		err := log.Follow(ctx, f, func(r *journal.Record, missed uint64) error {
			if r == nil {
				return lost(missed)
			}
			return each(apiRecord(r))
		})
		if !errors.Is(err, journal.ErrClosed) {
			return err
		}
		next, why := b.log() // a reload has moved it, or turned it off
		if why != nil || next == log {
			return errors.Join(why, err)
		}
		log = next
	}
}

// log returns the request log, or why there is none.
func (b backend) log() (*records, error) {
	if r := b.world.Load().records; r != nil {
		return r, nil
	}
	return nil, &api.Error{Class: api.Refused, Message: "there is no request log", Hint: "set [log] enabled = true, and reload"}
}

// filter translates the parameters of an api.Query.
func filter(v url.Values) (journal.Filter, error) {
	var f journal.Filter
	now := time.Now()
	for name, values := range v {
		if !slices.Contains(journal.FilterNames, name) {
			continue // order and limit
		}
		for _, value := range values {
			if name == "caller" {
				value = uidOf(value)
			}
			if err := f.Set(name, value, now); err != nil {
				return f, badQuery(err)
			}
		}
	}
	return f, nil
}

// uidOf turns the name of a user into its uid, and leaves all else as it is.
func uidOf(value string) string {
	if _, err := strconv.ParseUint(value, 10, 32); err == nil || value == "unknown" {
		return value
	}
	u, err := user.Lookup(value)
	if err != nil {
		return value
	}
	return u.Uid
}

func badQuery(err error) error {
	return &api.Error{Class: api.BadRequest, Message: err.Error(), Hint: "mtlsproxyctl log --help tells what the filters take"}
}

// apiRecord is a record as it goes over the wire.
func apiRecord(r *journal.Record) *api.Record {
	out := &api.Record{
		Time: r.Time.UTC(), ID: string(r.ID), Listener: r.Listener, Route: r.Route, Upstream: r.Upstream, Endpoint: r.Endpoint,
		Method: string(r.Method), Host: string(r.Host), Path: string(r.Path), Status: r.Status, Class: r.Class, Fault: r.Fault,
		BytesIn: r.BytesIn, BytesOut: r.BytesOut, Queue: r.Queue.Seconds(), Connect: r.Connect.Seconds(),
		FirstByte: r.FirstByte.Seconds(), Total: r.Total.Seconds(), Attempts: r.Attempts, Reused: r.Reused,
		TLS: tlsVersion(r.TLS), Serial: r.Serial, Generation: r.Generation,
	}
	if r.Caller >= 0 {
		uid := uint32(r.Caller)
		out.Caller = &uid
	}
	return out
}

// tlsVersion is a version as it is commonly written, RFC 8446 4.2.1.
func tlsVersion(v uint16) string {
	if v == 0 {
		return ""
	}
	return fmt.Sprintf("1.%d", v-0x0301)
}

// LogStats implements admin.Viewer.
func (b backend) LogStats() api.LogStats {
	w := b.world.Load()
	out := api.LogStats{Segments: []api.Segment{}, Quarantined: []api.Quarantined{}, Error: w.unlogged}
	if w.records == nil {
		return out
	}
	s := w.records.Stats()
	out.Enabled, out.Directory, out.Written, out.Dropped = true, s.Directory, s.Written, s.Dropped
	out.Bytes, out.MaxBytes, out.MaxAge, out.Lag = s.Bytes, s.MaxBytes, w.config.Log.MaxAge.Seconds(), s.Lag.Seconds()
	out.Buffered, out.BufferMax, out.Error = s.BufferUsed, s.Buffer, s.Err
	if !s.Oldest.IsZero() {
		oldest := s.Oldest.UTC()
		out.Oldest = &oldest
	}
	for _, seg := range s.Segments {
		out.Records += uint64(seg.Records)
		out.Segments = append(out.Segments, api.Segment{Name: seg.Name, From: seg.From.UTC(), To: seg.To.UTC(), Records: uint64(seg.Records), Bytes: seg.Size, Problem: seg.Problem})
	}
	for _, q := range s.Quarantined {
		out.Quarantined = append(out.Quarantined, api.Quarantined{Name: q.Name, Time: q.Time.UTC(), Why: q.Why, Bytes: q.Size})
	}
	return out
}

// events passes on events.
func (b backend) events(ctx context.Context, count int, follow bool, each func(*api.Event) error, lost func(uint64) error) error {
	last := uint64(0)
	for _, e := range b.Service.Events.Recent(count) {
		last = e.Seq
		if err := each(apiEvent(&e)); err != nil {
			return err
		}
	}
	if !follow {
		return nil
	}
	return b.Service.Events.Follow(ctx, last, func(e journal.Event, missed uint64) error {
		if missed > 0 {
			if err := lost(missed); err != nil {
				return err
			}
		}
		return each(apiEvent(&e))
	})
}

func apiEvent(e *journal.Event) *api.Event {
	out := &api.Event{Seq: e.Seq, Time: e.Time.UTC(), Level: levelName(e.Level), Message: e.Message, Attrs: []api.Attr{}}
	for _, a := range e.Attrs {
		out.Attrs = append(out.Attrs, api.Attr{Key: a.Key, Value: a.Value})
	}
	return out
}
