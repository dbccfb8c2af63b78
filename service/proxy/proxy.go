package proxy

import (
	"bytes"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"io"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/mtlsproxy/mtlsproxy/service/front"
	"github.com/mtlsproxy/mtlsproxy/tlsclient"
	"github.com/mtlsproxy/mtlsproxy/tlsclient/http1"
	"github.com/mtlsproxy/mtlsproxy/tlsclient/rawconn"
)

// Options are what a Proxy needs.
type Options struct {
	Buffers  *rawconn.Buffers
	Log      *slog.Logger
	Unrouted *Meter // of exchanges that no route takes
	File     string // the configuration, for whoever has none yet; "" if there is no file
}

// Proxy answers exchanges by forwarding them. Use gives it its routes.
type Proxy struct {
	Options
	table     atomic.Pointer[Table]
	exchanges atomic.Uint64
	prefix    []byte // of request ids
	pseudonym []byte // of this process in Via, RFC 9110 7.6.3
	via       [2][]byte
	names     names
	pool      sync.Pool
	warn      *sampler // of exchanges that fail
	warnCut   *sampler // of responses that are cut: many failures must not hide one
	denials   denials
}

// names are the fields that are set on every request.
type names struct {
	requestID, via, forwarded, xForwardedFor, xForwardedHost, xForwardedProto, http []byte
}

// New makes a proxy without routes.
func New(o Options) *Proxy {
	p := &Proxy{Options: o, warn: newSampler(), warnCut: newSampler()}
	var b [10]byte
	rand.Read(b[:])
	p.prefix = hex.AppendEncode(nil, b[:6])
	p.pseudonym = hex.AppendEncode([]byte("mtlsproxy-"), b[6:])
	p.via = [2][]byte{append([]byte("1.0 "), p.pseudonym...), append([]byte("1.1 "), p.pseudonym...)}
	p.names = names{
		requestID: []byte("X-Request-Id"), via: []byte("Via"), forwarded: []byte("Forwarded"),
		xForwardedFor: []byte("X-Forwarded-For"), xForwardedHost: []byte("X-Forwarded-Host"),
		xForwardedProto: []byte("X-Forwarded-Proto"), http: []byte("http"),
	}
	p.table.Store(emptyTable())
	return p
}

// Use makes t the table for all exchanges that begin from now on. The one before is
// retired: once its Unused is closed, no exchange will enter the upstreams of its
// routes or its log any more by way of it; those that have are counted there.
func (p *Proxy) Use(t *Table) (retired *Table) {
	retired = p.table.Swap(t)
	retired.users.Retire()
	return retired
}

// enter returns the present table, in use.
func (p *Proxy) enter() *Table {
	for {
		t := p.table.Load()
		t.users.enter()
		if p.table.Load() == t {
			return t
		}
		t.users.leave() // it was retired just now, and may be out of use already
	}
}

// exchange is the proxy's side of a front.Exchange.
type exchange struct {
	p    *Proxy
	x    *front.Exchange
	id   []byte
	req  tlsclient.Request
	resp tlsclient.Response
	mem  []byte // what fields are made of

	account
}

// scratch returns where to build a value; keep returns it for good.
func (e *exchange) scratch() []byte { return e.mem[len(e.mem):] }

func (e *exchange) keep(b []byte) []byte {
	if cap(e.mem)-len(e.mem) >= len(b) {
		e.mem = e.mem[:len(e.mem)+len(b)]
	}
	return slices.Clip(b)
}

// Serve answers one exchange.
func (p *Proxy) Serve(x *front.Exchange) {
	e, ok := p.pool.Get().(*exchange)
	if !ok {
		e = &exchange{p: p, mem: make([]byte, 0, 1024)}
	}
	e.x = x
	e.id = e.keep(p.newID(e.scratch()))
	e.open(p.enter(), p.Unrouted)
	e.listener = e.table.listener(x.Source())
	defer e.settle() // after a panic too
	e.serve()
	e.whole = true
}

func (e *exchange) serve() {
	x := e.x
	if x.Broken != nil {
		e.refuse()
		return
	}
	r, f := e.route()
	if why := x.Crowded(); why != nil {
		r, f = nil, crowded(why)
	}
	e.take(r)
	if f != nil {
		e.fail(f)
		return
	}
	e.setID(r.AcceptID)
	if f := e.authorise(r); f != nil {
		e.fail(f)
		return
	}
	switch {
	case e.looped():
		e.fail(badRequest(508, "the request has come through here before", errors.New("loop in Via")))
	case x.Request.MaxForwards == 0:
		x.DiscardBody()
		x.Head(200, []byte("OK"), nil, http1.ByLength, 0)
		e.ended(x.End(nil))
	default:
		e.forward(r)
	}
}

// refuse answers a request that could not be understood. Of its target the record
// keeps what is a path for certain: the rest may be anything, secrets among it.
func (e *exchange) refuse() {
	e.take(nil)
	req := &e.x.Request
	e.method = req.Method
	if path, _, _ := bytes.Cut(req.Target, []byte("?")); len(path) > 0 && path[0] == '/' {
		e.keepPath(path)
	}
	if e.x.Broken == front.ErrCrowded {
		e.fail(crowded(e.x.Crowded()))
		return
	}
	e.fail(broken(e.x.Broken))
}

// keepPath keeps a path for the record: the head may be gone by then.
func (e *exchange) keepPath(path []byte) {
	e.path = e.keep(append(e.scratch(), path[:min(len(path), maxPath)]...))
}

// route finds the route, for the path as it stands and as an upstream might
// read it: if those differ, somebody is being fooled.
func (e *exchange) route() (*Route, *failure) {
	req := &e.x.Request
	t := e.table
	q := query{listener: e.listener, method: req.Method, path: req.Path}
	host, port, _ := http1.SplitAuthority(req.Authority)
	q.host, q.port = e.keep(appendLower(e.scratch(), bytes.TrimSuffix(host, []byte(".")))), port
	if i := bytes.IndexByte(q.path, '?'); i >= 0 {
		q.path = q.path[:i]
	}
	e.host, e.method = q.host, q.method
	if t.Query {
		e.keepPath(req.Path)
	} else {
		e.keepPath(q.path)
	}
	r := t.find(&q)
	if !plain(q.path) {
		if f := t.ambiguous(q, r); f != nil {
			return nil, f
		}
	}
	if r == nil {
		return nil, e.p.noRouteIn(t)
	}
	if err := r.confine(req.Path); err != nil {
		return nil, badRequest(400, err.Error(), err)
	}
	return r, nil
}

// ambiguous refuses a path that takes another route than r if it is read in another way.
func (t *Table) ambiguous(q query, r *Route) *failure {
	sent := q.path
	for how := range readings {
		path, err := canonical(nil, sent, how)
		if err != nil {
			return badRequest(400, err.Error(), err)
		}
		q.path = path
		if t.find(&q) != r {
			return badRequest(400, "the path would take another route once it is decoded, or without parameters", errors.New("ambiguous path"))
		}
	}
	return nil
}

func appendLower(dst, b []byte) []byte {
	for _, c := range b {
		if c >= 'A' && c <= 'Z' {
			c += 'a' - 'A'
		}
		dst = append(dst, c)
	}
	return dst
}

// forward sends the request upstream and its response back.
func (e *exchange) forward(r *Route) {
	if err := e.admit(r); err != nil {
		e.failWith(err)
		return
	}
	e.prepare(r)
	e.asked = true
	defer e.resp.Close()
	if err := r.Upstream.Do(&e.req, &e.resp); err != nil {
		e.failWith(err)
		return
	}
	x, resp := e.x, &e.resp
	if resp.Early() {
		x.CloseAfter()
	}
	if len(r.ResponseSet)+len(r.ResponseRemove) > 0 {
		resp.Body.DropTrailers = true
	}
	x.Head(resp.Status, resp.Reason, e.responseFields(r), resp.Framing, resp.Length)
	if resp.Status == 101 {
		e.tunnel(r.TunnelIdle)
		return
	}
	e.ended(e.copyBody())
}

func (e *exchange) prepare(r *Route) {
	req := &e.x.Request
	if len(r.RequestSet)+len(r.RequestRemove) > 0 {
		e.x.Body.DropTrailers = true // what the route decides must not come by the back door
	}
	host := req.Authority
	if r.HostHeader != "" {
		host = e.keep(append(e.scratch(), r.HostHeader...))
	}
	target := req.Path
	if r.StripPrefix || r.Replace != "" {
		target = e.keep(r.target(e.scratch(), req.Path))
	}
	e.req = tlsclient.Request{
		// A body that is sent while the response is awaited overwrites the head.
		// It has gone out by then, and tlsclient keeps it for another attempt; only
		// the method is needed again here.
		Method: e.keep(append(e.scratch(), req.Method...)), Target: target, Host: host, Fields: e.requestFields(r),
		Framing: req.Framing, Length: req.Length, Body: &e.x.Body,
		Continue: req.Continue, WebSocket: req.WebSocket && r.WebSocket,
		Idempotent: req.Idempotent(), Client: e.x, Retry: r.Retry, Begun: e.begun,
	}
	e.method = e.req.Method
}

// copyBody passes the response's body on as it comes: what is at hand is
// gathered into one write, and nothing is held back while more is awaited.
func (e *exchange) copyBody() error {
	x, resp := e.x, &e.resp
	for {
		p, err := resp.Ready()
		if p == nil && err == nil {
			if err := x.Flush(); err != nil {
				return err
			}
			p, err = resp.Next()
		}
		if resp.Body.Done() {
			e.ticket.Leave() // whoever has the answer may ask again at once
		}
		switch {
		case err == io.EOF: //nolint:errorlint // Next returns io.EOF itself for the end
			return x.End(resp.Body.Trailers)
		case err != nil:
			return err
		}
		if err := x.Write(p); err != nil {
			return err
		}
	}
}

// failWith answers an error if there is anybody to answer.
func (e *exchange) failWith(err error) {
	f := diagnose(err)
	if f == nil {
		e.blame(tlsclient.ClientGone, tlsclient.FaultClient)
		e.x.Abort()
		return
	}
	e.fail(f)
}

func (e *exchange) fail(f *failure) {
	e.blame(f.class, f.fault)
	e.countTooLarge()
	if f.fault != tlsclient.FaultClient {
		if attrs := e.attributes(e.p.warn, f); attrs != nil {
			e.p.Log.Warn("exchange failed", append([]any{"event", "exchange_failed"}, attrs...)...)
		}
	}
	e.answer(f)
}

// ended settles an exchange whose answer has begun. An answer that could not be
// completed must not look complete; if nothing of it has left yet, the client is
// told what happened instead.
func (e *exchange) ended(err error) {
	if err == nil {
		return
	}
	if e.x.Retract() {
		e.resp.Close() // ends what still reads the request's body
		e.failWith(err)
		return
	}
	e.x.Abort()
	f := diagnose(err)
	if f == nil {
		e.blame(tlsclient.ClientGone, tlsclient.FaultClient)
		return
	}
	e.blame(f.class, f.fault)
	e.countTooLarge()
	if f.fault != tlsclient.FaultClient {
		if attrs := e.attributes(e.p.warnCut, f); attrs != nil {
			e.p.Log.Warn("response cut short", append([]any{"event", "response_cut"}, attrs...)...)
		}
	}
}
