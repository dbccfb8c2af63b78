package main

import (
	"fmt"
	"regexp"
	"strconv"
	"time"

	"github.com/mtlsproxy/mtlsproxy/service/admin/api"
)

// filter says which records are asked for.
type filter struct {
	Status   string        `help:"Status: 404, 5xx, 400-499, or several with commas; 0 for none." placeholder:"5xx" group:"Which records:"`
	Class    string        `help:"Error class, or several with commas; any for all that have one." placeholder:"CLASS" group:"Which records:"`
	Fault    string        `help:"Whose fault: client, upstream or self." enum:",client,upstream,self" default:"" placeholder:"WHOSE" group:"Which records:"`
	Route    string        `help:"Route." placeholder:"NAME" group:"Which records:"`
	Upstream string        `help:"Upstream." placeholder:"NAME" group:"Which records:"`
	Endpoint string        `help:"Endpoint." placeholder:"HOST:PORT" group:"Which records:"`
	Listener string        `help:"Listener." placeholder:"NAME" group:"Which records:"`
	Caller   string        `help:"Caller: a user's name or uid, or unknown." placeholder:"USER" group:"Which records:"`
	Method   string        `help:"Method." placeholder:"GET" group:"Which records:"`
	Host     string        `help:"Host; * stands for any text." placeholder:"GLOB" group:"Which records:"`
	Path     string        `help:"Path; * stands for any text." placeholder:"GLOB" group:"Which records:"`
	ID       string        `name:"id" help:"Id of the request." placeholder:"ID" group:"Which records:"`
	Min      time.Duration `help:"Took this long or longer: 500ms." placeholder:"TIME" group:"Which records:"`
	Max      time.Duration `help:"Took this long or less." placeholder:"TIME" group:"Which records:"`
}

// period says of which time records are asked for.
type period struct {
	From string `help:"Not before: 2h ago and the like as 2h or 1d12h; 10:00; \"2026-11-23 10:00\"; RFC 3339; today, yesterday." placeholder:"TIME" group:"Which records:"`
	To   string `help:"Before this, written likewise." placeholder:"TIME" group:"Which records:"`
}

const statusPart = `([0-9]{1,3}|[1-5]xx|[0-9]{3}-[0-9]{3})`

var statuses = regexp.MustCompile(`^` + statusPart + `(,` + statusPart + `)*$`)

// query makes of the flags what the daemon is asked.
func (f *filter) query(x *control) (api.Query, error) {
	q := api.Query{
		ID: f.ID, Listener: f.Listener, Route: f.Route, Upstream: f.Upstream, Endpoint: f.Endpoint, Method: f.Method,
		Host: f.Host, Path: f.Path, Fault: f.Fault, Status: f.Status, Class: f.Class, Min: f.Min, Max: f.Max,
	}
	switch {
	case f.Status != "" && !statuses.MatchString(f.Status):
		return q, usageError{fmt.Sprintf("--status: not a status (got %q, want 404, 5xx, 400-499 or several with commas)", f.Status)}
	case f.Min < 0 || f.Max < 0:
		return q, usageError{"--min and --max: a time cannot be negative"}
	case f.Max > 0 && f.Min > f.Max:
		return q, usageError{fmt.Sprintf("--min %v is more than --max %v: nothing can be both", f.Min, f.Max)}
	}
	var err error
	q.Caller, err = f.caller(x)
	return q, err
}

// caller is the uid of the user that was named: only this side knows names.
func (f *filter) caller(x *control) (string, error) {
	if f.Caller == "" || f.Caller == "unknown" {
		return f.Caller, nil
	}
	if _, err := strconv.ParseUint(f.Caller, 10, 32); err == nil {
		return f.Caller, nil
	}
	uid, ok := x.userID(f.Caller)
	if !ok {
		return "", usageError{fmt.Sprintf("--caller: no such user on this host (got %q, want a name, a uid or unknown)", f.Caller)}
	}
	return strconv.FormatUint(uint64(uid), 10), nil
}

// limit narrows a query to the period.
func (p *period) limit(q *api.Query, now time.Time) error {
	for _, part := range []struct {
		flag, text string
		to         *time.Time
	}{{"--from", p.From, &q.From}, {"--to", p.To, &q.To}} {
		if part.text == "" {
			continue
		}
		t, err := parseTime(part.text, now)
		if err != nil {
			return usageError{part.flag + ": " + err.Error()}
		}
		*part.to = t
	}
	if !q.From.IsZero() && !q.To.IsZero() && !q.From.Before(q.To) {
		return usageError{fmt.Sprintf("--from is not before --to (got %s and %s)", q.From.Format(time.RFC3339), q.To.Format(time.RFC3339))}
	}
	return nil
}
