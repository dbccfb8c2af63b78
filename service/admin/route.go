package admin

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"reflect"

	"github.com/mtlsproxy/mtlsproxy/service/admin/api"
)

// route is a row of the table.
type route struct {
	method  string
	path    string
	needs   permission
	summary string
	params  []param
	accepts reflect.Type // of the body; nil: it takes none
	maxBody int64        // bytes; 0: the usual
	kind    kind
	answers reflect.Type // of the answer, or of one line of a stream; nil for text
	also    int          // a status beside 200 that comes with the same answer
	changes bool         // the daemon, which makes an event
	serve   func(*call) error
}

// kind is the form of an answer.
type kind int

const (
	value  kind = iota // one JSON value
	stream             // one JSON value per line
	prose              // text
)

// methods are those of a request that the row takes.
func (r *route) methods() []string {
	if r.method == http.MethodGet && r.kind != stream {
		return []string{http.MethodGet, http.MethodHead}
	}
	return []string{r.method}
}

// longest is how many bytes the body may have.
func (r *route) longest() int64 {
	if r.maxBody > 0 {
		return r.maxBody
	}
	return maxBody
}

func bytesOf(n int64) string { return fmt.Sprintf("%d bytes", n) }

// show is a row that answers what f returns.
func show[T any](method, path string, needs permission, summary string, f func(*call) (T, error)) route {
	return route{
		method: method, path: path, needs: needs, summary: summary, answers: reflect.TypeFor[T](),
		serve: func(c *call) error {
			v, err := f(c)
			if err != nil {
				return err
			}
			return c.answer(v)
		},
	}
}

// act is a row that does what the body says. An In of none takes no body; one with a
// Clear holds secrets, and is overwritten when f has returned.
func act[In fmt.Stringer, Out any](method, path, summary string, f func(*call, In) (Out, error)) route {
	do := func(c *call) (Out, error) {
		var in In
		if secret, ok := any(&in).(interface{ Clear() }); ok {
			defer secret.Clear()
		}
		if c.route.accepts != nil {
			if err := c.body(&in); err != nil {
				return *new(Out), err
			}
		}
		return f(c, in)
	}
	r := show(method, path, operate, summary, do)
	if t := reflect.TypeFor[In](); t != reflect.TypeFor[none]() {
		r.accepts = t
	}
	return r
}

// change is an act that changes the daemon, which makes an event.
func change[In fmt.Stringer, Out any](method, path, summary string, f func(*call, In) (Out, error)) route {
	r := act(method, path, summary, func(c *call, in In) (Out, error) {
		out, err := f(c, in)
		c.changed(fmt.Sprintf("%.256s", in.String()), err)
		return out, err
	})
	r.changes = true
	return r
}

// none is the body of an act that has none.
type none struct{}

// String implements fmt.Stringer.
func (none) String() string { return "" }

// sink is where the Backend passes on the values of a stream.
type sink[T any] struct {
	each func(*T) error
	lost func(uint64) error
}

// lines is a row that answers with a stream.
func lines[T any](path, summary string, params []param, f func(context.Context, *call, sink[T]) error) route {
	t := reflect.TypeFor[T]()
	line := func(v *T) any { return v }
	if gaps(t) {
		line = func(v *T) any { return complete(v) }
	}
	return route{
		method: http.MethodGet, path: path, needs: read, summary: summary, params: params,
		kind: stream, answers: t,
		serve: func(c *call) error {
			return c.stream(func(ctx context.Context, s *lineWriter) error {
				return f(ctx, c, sink[T]{
					each: func(v *T) error { return s.value(line(v)) },
					lost: func(n uint64) error { return s.value(api.Lost{Lost: n}) },
				})
			})
		},
	}
}

// metrics is the row that answers with the metrics.
func metrics(needs permission, write func(io.Writer) error) route {
	return route{
		method: http.MethodGet, path: "/metrics", needs: needs, summary: "Metrics in the Prometheus text format", kind: prose,
		serve: func(c *call) error {
			var b bytes.Buffer
			if err := write(&b); err != nil {
				return err
			}
			c.send("text/plain; version=0.0.4; charset=utf-8", b.Bytes())
			return nil
		},
	}
}
