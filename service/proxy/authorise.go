package proxy

import (
	"bytes"
	"errors"
	"fmt"

	"github.com/mtlsproxy/mtlsproxy/service/caller"
	"github.com/mtlsproxy/mtlsproxy/service/front"
	"github.com/mtlsproxy/mtlsproxy/tlsclient"
	"github.com/mtlsproxy/mtlsproxy/tlsclient/http1"
)

// authorise returns why the exchange may not take its route, or nil. What is not known
// is denied.
func (e *exchange) authorise(r *Route) *failure {
	if !r.CrossSite {
		if why := crossSite(&e.x.Request); why != "" {
			return e.deny(r, "a web page of another site asks: "+why+"; allow_cross_site of the route permits that", nil)
		}
	}
	if r.Callers.Any() {
		return nil
	}
	uid := e.x.Caller()
	if uid != front.NoCaller {
		switch {
		case r.Callers.Allows(caller.Caller{UID: uint32(uid)}):
			return nil
		case !r.Callers.Groups():
			return e.deny(r, unnamed(uid), nil)
		}
	}
	who, err := e.x.Who()
	switch {
	case err != nil:
		return e.deny(r, "it cannot be told who asks: connect from this host, best to a unix socket", err)
	case !r.Callers.Allows(who):
		return e.deny(r, unnamed(int64(who.UID)), nil)
	}
	return nil
}

func unnamed(uid int64) string {
	return fmt.Sprintf("no rule in the route's callers fits uid %d", uid)
}

// deny tells of a denial, and makes the answer to it.
func (e *exchange) deny(r *Route, why string, cause error) *failure {
	if cause == nil {
		cause = errors.New(why)
	}
	e.p.denials.tell(e.p.Log, &denial{uid: e.x.Caller(), route: r.Name, listener: e.listener}, cause, e.begun)
	return &failure{status: 403, class: callerDenied, fault: tlsclient.FaultClient, hint: why, cause: cause}
}

// crossSite returns what shows that a browser asks on behalf of a page of another site,
// or "". Browsers tell by Sec-Fetch-Site, https://www.w3.org/TR/fetch-metadata/, if the
// host is localhost or a loopback address, which they trust without TLS; by Origin, RFC
// 6454, in requests that change things; and otherwise by Referer, if the page does not
// forbid it. Pages of the same site count as others: they come from another host or port.
func crossSite(req *http1.Request) string {
	told, referred := false, ""
	for i := range req.Fields {
		f := &req.Fields[i]
		switch {
		case len(f.Name) == len("Referer") && bytes.EqualFold(f.Name, []byte("Referer")):
			if !sameOrigin(f.Value, req.Authority) {
				referred = "Referer is of another host than was asked for"
			}
		case len(f.Name) == len("Origin") && bytes.EqualFold(f.Name, []byte("Origin")):
			if !sameOrigin(f.Value, req.Authority) {
				return "Origin is not the host that was asked for"
			}
		case len(f.Name) == len("Sec-Fetch-Site") && bytes.EqualFold(f.Name, []byte("Sec-Fetch-Site")):
			if v := string(f.Value); v != "same-origin" && v != "none" {
				return "Sec-Fetch-Site is neither same-origin nor none"
			}
			told = true
		}
	}
	if told {
		return ""
	}
	return referred
}

// sameOrigin reports whether an origin has the host and port of authority. Its scheme
// does not matter: what is asked for here may stand behind a server that has https.
func sameOrigin(origin, authority []byte) bool {
	scheme, host, ok := bytes.Cut(origin, []byte("://"))
	if !ok { // as "null", which no host is
		return false
	}
	host, _, _ = bytes.Cut(host, []byte("/")) // programs that are no browsers send URLs
	return bytes.EqualFold(withPort(host, scheme), withPort(authority, scheme))
}

// withPort is a host without the port that its scheme stands for.
func withPort(host, scheme []byte) []byte {
	port := ":80"
	if string(scheme) == "https" {
		port = ":443"
	}
	return bytes.TrimSuffix(host, []byte(port))
}
