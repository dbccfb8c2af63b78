package top

import (
	"bytes"
	"context"
	"io"
	"slices"
	"time"

	"github.com/mtlsproxy/mtlsproxy/cmd/mtlsproxyctl/prom"
	"github.com/mtlsproxy/mtlsproxy/service/admin/api"
)

// Client is what is asked of a daemon. An *api.Client is one.
type Client interface {
	Status(ctx context.Context) (api.Status, error)
	Metrics(ctx context.Context, w io.Writer) error
	Records(ctx context.Context, q api.Query, each func(api.Record) error) error
}

// Reading is what a daemon said at one time.
type Reading struct {
	Time     time.Time
	Status   api.Status
	Metrics  prom.Sample
	Errors   []api.Record // the newest first
	LogError string       // why Errors may be incomplete
}

// Last errors are remembered up to this number, and looked for in this much of the
// past at first.
const (
	maxErrors = 20
	lookBack  = 15 * time.Minute
)

// logLag is how long a record may be on its way into the log: what was made just
// before the last look is looked for again.
const logLag = 3 * time.Second

// Source reads from a daemon. Client and Now must be set.
type Source struct {
	Client Client
	Now    func() time.Time

	errors []api.Record
	looked time.Time // when errors were looked for last
}

// Read asks for all there is. That the log cannot be read is no error.
func (s *Source) Read(ctx context.Context) (*Reading, error) {
	status, err := s.Client.Status(ctx)
	if err != nil {
		return nil, err
	}
	var text bytes.Buffer
	if err := s.Client.Metrics(ctx, &text); err != nil {
		return nil, err
	}
	r := &Reading{Time: s.Now(), Status: status}
	if r.Metrics, err = prom.Parse(&text); err != nil {
		return nil, err
	}
	switch {
	case !status.Log.Enabled:
		r.LogError = "the request log is off"
	default:
		if err := s.look(ctx, r.Time); err != nil {
			r.LogError = err.Error()
		}
	}
	r.Errors = slices.Clone(s.errors)
	return r, ctx.Err()
}

// look asks for the errors since the last look, so that a long log is not searched
// each time.
func (s *Source) look(ctx context.Context, now time.Time) error {
	from := now.Add(-lookBack)
	if !s.looked.IsZero() {
		from = s.looked.Add(-logLag)
	}
	var found []api.Record
	err := s.Client.Records(ctx, api.Query{Class: "any", From: from, Limit: maxErrors}, func(r api.Record) error {
		found = append(found, r)
		return nil
	})
	if err != nil {
		return err
	}
	s.looked = now
	for _, r := range s.errors {
		if !slices.ContainsFunc(found, func(f api.Record) bool { return f.ID == r.ID && f.Time.Equal(r.Time) }) {
			found = append(found, r)
		}
	}
	slices.SortStableFunc(found, func(a, b api.Record) int { return b.Time.Compare(a.Time) })
	s.errors = found[:min(len(found), maxErrors)]
	return nil
}
