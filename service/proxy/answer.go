package proxy

import (
	"cmp"
	"errors"
	"net/http"
	"os"
	"strconv"
	"time"

	"github.com/mtlsproxy/mtlsproxy/service/front"
	"github.com/mtlsproxy/mtlsproxy/tlsclient"
	"github.com/mtlsproxy/mtlsproxy/tlsclient/http1"
)

// The classes of what is refused here, beside those of tlsclient.
const (
	noRoute      tlsclient.Class = "no_route"      // no route maps the request
	callerDenied tlsclient.Class = "caller_denied" // its caller may not make it, or a web page may not in the caller's name
	rateLimited  tlsclient.Class = "rate_limited"  // there are more than the route's rate
	tooLarge     tlsclient.Class = "too_large"     // its body is
)

// failure is why an exchange has no response from an upstream. What the client
// is told is fixed text; the cause is for the log.
type failure struct {
	status int
	class  tlsclient.Class
	fault  tlsclient.Fault
	hint   string
	cause  error
	retry  int64         // seconds until it may be tried again; 0: a second if the status is 503
	fields []http1.Field // of the answer, beside those that all have
}

// Error implements error.
func (f *failure) Error() string { return f.cause.Error() }

// Unwrap tells what is behind it.
func (f *failure) Unwrap() error { return f.cause }

// broken is the failure of a request that could not be understood.
func broken(e *http1.Error) *failure {
	if e == front.ErrLate {
		return &failure{status: e.Status, class: tlsclient.Draining, fault: tlsclient.FaultSelf, hint: e.Reason, cause: e}
	}
	return badRequest(e.Status, e.Reason, e)
}

// badRequest is the failure of a request that cannot be passed on.
func badRequest(status int, hint string, cause error) *failure {
	return &failure{status: status, class: tlsclient.BadRequest, fault: tlsclient.FaultClient, hint: hint, cause: cause}
}

func (p *Proxy) noRouteIn(t *Table) *failure {
	if t.size == 0 { // a fresh installation: it is not the request that is wrong
		return &failure{status: 503, class: noRoute, fault: tlsclient.FaultSelf, cause: errors.New("there is no route at all"),
			hint: "nothing is configured yet: write an [upstream] and a [[route]] into " + cmp.Or(p.File, "the configuration") + ", then reload"}
	}
	return &failure{status: 404, class: noRoute, fault: tlsclient.FaultClient, cause: errors.New("no route"),
		hint: "no route takes this host, path and method; mtlsproxyd check lists the routes"}
}

// diagnose finds out what to answer to an error of tlsclient or of the client's
// side. It returns nil when nobody is left to be answered.
func diagnose(err error) *failure {
	var e *tlsclient.Error
	if f, ok := errors.AsType[*failure](err); ok {
		return f
	}
	switch {
	case errors.Is(err, front.ErrGone):
		return nil
	case errors.Is(err, front.ErrCancelled):
		return &failure{status: 503, class: tlsclient.Draining, fault: tlsclient.FaultSelf, hint: "the daemon is stopping; try again", cause: err}
	case !errors.As(err, &e):
		return &failure{status: 500, class: tlsclient.Internal, fault: tlsclient.FaultSelf, hint: "see the daemon's log", cause: err}
	case e.Class == tlsclient.ClientGone && errors.Is(err, os.ErrDeadlineExceeded):
		return &failure{status: 408, class: tlsclient.BadRequest, fault: e.Fault, hint: "the request's body paused for too long", cause: err}
	case errors.Is(err, http1.ErrBodyTooLarge) && e.Fault == tlsclient.FaultClient:
		return bodyTooLarge(err)
	case e.Class == tlsclient.ClientGone:
		return nil
	}
	f := &failure{status: 502, class: e.Class, fault: e.Fault, cause: err, retry: seconds(e.RetryAfter)}
	switch e.Class {
	case tlsclient.BadRequest:
		f.status, f.hint = 400, "the request's body breaks its framing"
		if p, ok := errors.AsType[*http1.Error](err); ok {
			f.status, f.hint = p.Status, p.Reason
		}
	case tlsclient.Overloaded:
		f.status, f.hint = 503, "all connections to the upstream are busy; try again"
		if outOfDescriptors(err) {
			f.hint = "this host has no descriptor left for a connection to the upstream; see LimitNOFILE"
		}
	case tlsclient.Draining:
		f.status, f.hint = 503, "the daemon is stopping; try again"
		if errors.Is(err, tlsclient.ErrRetired) {
			f.hint = "the certificate was replaced, and the answer took longer than pool.retire_timeout; try again"
		}
	case tlsclient.BreakerOpen:
		f.status, f.hint = 503, "the upstream has failed again and again, and is left alone for a while; Retry-After says how long"
	case tlsclient.NoEndpoint:
		f.status, f.hint = 503, "every endpoint of the upstream is drained; mtlsproxyctl resume undoes that"
		if e.Fault == tlsclient.FaultUpstream {
			f.hint = "every endpoint of the upstream fails its health check; mtlsproxyctl upstreams shows each"
		}
	case tlsclient.IdentityUnavailable:
		f.status, f.hint = 503, "no valid client certificate is loaded for this upstream; mtlsproxyctl certs says why"
		if reason := tlsclient.ReasonOf(err); reason != tlsclient.ReasonOther {
			f.hint = "no client certificate is loaded for this upstream (" + string(reason) + "); mtlsproxyctl certs says more"
		}
	case tlsclient.IdentityExpired:
		f.status, f.hint = 503, "the client certificate for this upstream has expired"
	case tlsclient.ConnectTimeout:
		f.status, f.hint = 504, "no connection to the upstream in time"
	case tlsclient.UpstreamTimeout:
		f.status, f.hint = 504, "the upstream took too long to answer"
		if e.Fault == tlsclient.FaultSelf {
			f.hint = "the request waited on this side for all the time it may take, and was not sent; try again"
		}
	case tlsclient.ConnectFailed:
		f.hint = "the upstream cannot be reached"
		if e.Fault == tlsclient.FaultSelf {
			f.hint = "this host could not make a connection: " + ownReason(err) + "; see source and LimitNOFILE"
		}
	case tlsclient.TLSVerifyFailed:
		f.hint = "the upstream's certificate was refused; compare ca and server_name with what it shows"
	case tlsclient.ClientCertRejected:
		f.hint = "the upstream refused our client certificate"
	case tlsclient.TLSFailed:
		f.hint = "the TLS connection to the upstream failed"
	case tlsclient.UpstreamReset:
		f.hint = "the upstream closed the connection before its answer was complete"
	case tlsclient.UpstreamBadResponse:
		f.hint = "the upstream's answer breaks the protocol"
	default:
		f.status, f.hint = 500, "see the daemon's log"
	}
	return f
}

// answer writes a failure to the client, who can tell it from an upstream's
// answer by the Mtlsproxy-Error field.
func (e *exchange) answer(f *failure) {
	e.ticket.Leave() // whoever has the answer may ask again at once
	x := e.x
	if f.class == tlsclient.BadRequest && f.status != http.StatusLoopDetected {
		x.CloseAfter() // nobody knows where its next request begins
	}
	fields := []http1.Field{
		{Name: []byte("Content-Type"), Value: []byte("text/plain; charset=utf-8")},
		{Name: []byte("Mtlsproxy-Error"), Value: []byte(f.class)},
		{Name: []byte("X-Request-Id"), Value: e.id},
	}
	fields = append(fields, f.fields...)
	if f.status == 503 || f.retry > 0 {
		fields = append(fields, http1.Field{Name: []byte("Retry-After"), Value: strconv.AppendInt(nil, max(f.retry, 1), 10)})
	}
	text := "mtlsproxy: " + string(f.class) + " (request " + string(e.id) + "): " + f.hint + "\n"
	if err := x.Answer(f.status, http.StatusText(f.status), fields, text); err != nil {
		e.p.Log.Debug("answering failed", "id", string(e.id), "error", err)
	}
}

// seconds rounds up to whole seconds.
func seconds(d time.Duration) int64 { return int64((d + time.Second - 1) / time.Second) }
