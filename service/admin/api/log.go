package api

import (
	"net/url"
	"strconv"
	"time"
)

// Record is what the request log keeps of one exchange.
type Record struct {
	Time       time.Time `json:"time"`
	ID         string    `json:"id"`
	Listener   string    `json:"listener"`
	Caller     *uint32   `json:"caller"` // uid; null if unknown
	Route      string    `json:"route"`
	Upstream   string    `json:"upstream"`
	Endpoint   string    `json:"endpoint"`
	Method     string    `json:"method"`
	Host       string    `json:"host"`
	Path       string    `json:"path"`
	Status     int       `json:"status"` // 0 if nothing was answered
	Class      string    `json:"class"`  // error class; empty for an upstream's answer that came through whole
	Fault      string    `json:"fault"`  // client, upstream or self; empty with an empty class
	BytesIn    int64     `json:"bytes_in"`
	BytesOut   int64     `json:"bytes_out"`
	Queue      float64   `json:"queue_seconds"`
	Connect    float64   `json:"connect_seconds"`
	FirstByte  float64   `json:"first_byte_seconds"`
	Total      float64   `json:"total_seconds"`
	Attempts   int       `json:"attempts"`
	Reused     bool      `json:"reused"`
	TLS        string    `json:"tls"` // "1.2", "1.3" or empty
	Serial     string    `json:"serial"`
	Generation uint64    `json:"generation"`
}

// Query asks for records. A zero field asks for nothing.
type Query struct {
	From, To                            time.Time
	ID, Listener, Route, Upstream       string
	Endpoint, Method, Host, Path, Fault string // Host and Path: globs, where * stands for any text
	Caller                              string // uid, user name or "unknown"
	Status                              string // "404", "5xx", "400-499", or several with commas
	Class                               string // one or several with commas, or "any"
	Min, Max                            time.Duration
	Oldest                              bool // oldest first
	Limit                               int  // 0: the daemon's default
}

// Values returns the query as parameters of a URL. All is the Limit that stands
// for no limit.
func (q *Query) Values() url.Values {
	v := url.Values{}
	set := func(name, value string) {
		if value != "" {
			v.Set(name, value)
		}
	}
	for name, value := range map[string]string{
		"id": q.ID, "listener": q.Listener, "route": q.Route, "upstream": q.Upstream, "endpoint": q.Endpoint,
		"method": q.Method, "host": q.Host, "path": q.Path, "fault": q.Fault, "caller": q.Caller,
		"status": q.Status, "class": q.Class,
	} {
		set(name, value)
	}
	for name, t := range map[string]time.Time{"from": q.From, "to": q.To} {
		if !t.IsZero() {
			set(name, t.UTC().Format(time.RFC3339Nano))
		}
	}
	for name, d := range map[string]time.Duration{"min": q.Min, "max": q.Max} {
		if d > 0 {
			set(name, d.String())
		}
	}
	if q.Oldest {
		set("order", "oldest")
	}
	if q.Limit != 0 {
		set("limit", strconv.Itoa(q.Limit))
	}
	return v
}

// All is the Limit of a Query without one.
const All = -1

// LogStats says how the request log fares.
type LogStats struct {
	Enabled     bool          `json:"enabled"`
	Directory   string        `json:"directory,omitempty"`
	Written     uint64        `json:"written"` // records since the start
	Dropped     uint64        `json:"dropped"` // records since the start
	Records     uint64        `json:"records"` // on disk
	Bytes       int64         `json:"bytes"`   // on disk
	MaxBytes    int64         `json:"max_bytes"`
	MaxAge      float64       `json:"max_age_seconds"`
	Lag         float64       `json:"lag_seconds"` // age of the oldest record not written yet
	Buffered    int64         `json:"buffered_bytes"`
	BufferMax   int64         `json:"buffer_max_bytes"`
	Oldest      *time.Time    `json:"oldest,omitempty"`
	Error       string        `json:"error,omitempty"` // why it cannot write at present
	Segments    []Segment     `json:"segments"`
	Quarantined []Quarantined `json:"quarantined"`
}

// Segment is one file of the request log.
type Segment struct {
	Name    string    `json:"name"`
	From    time.Time `json:"from"`
	To      time.Time `json:"to"`
	Records uint64    `json:"records"`
	Bytes   int64     `json:"bytes"`
	Problem string    `json:"problem,omitempty"` // why it cannot be read at present, and what to do
}

// Quarantined is a damaged segment that was put aside.
type Quarantined struct {
	Name  string    `json:"name"`
	Time  time.Time `json:"time"`
	Why   string    `json:"why"`
	Bytes int64     `json:"bytes"`
}

// Event is a change of state, a fault or an admin's action.
type Event struct {
	Seq     uint64    `json:"seq"` // counts up from 1
	Time    time.Time `json:"time"`
	Level   string    `json:"level"`
	Message string    `json:"message"`
	Attrs   []Attr    `json:"attrs"`
}

// Attr is a detail of an event.
type Attr struct {
	Key   string `json:"key"`
	Value string `json:"value"`
}

// Lost is a line of a stream in place of values that its reader was too slow for.
type Lost struct {
	Lost uint64 `json:"lost"`
}
