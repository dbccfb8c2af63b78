package admin

import (
	"net"
	"net/http"
	"net/netip"
	"strings"

	"github.com/mtlsproxy/mtlsproxy/service/admin/api"
)

// fromBrowser refuses what a page in a browser on this host may send to a TCP
// listener of ours, by name or through a name that was bent to a loopback address.
// Nothing here is made for pages.
func fromBrowser(r *http.Request, c net.Conn) error {
	site := r.Header.Get("Sec-Fetch-Site")
	if len(r.Header.Values("Origin")) > 0 || site != "" && site != "none" {
		return &api.Error{Class: api.NotPermitted, Message: "requests from web pages are refused", Hint: "use curl or mtlsproxyctl"}
	}
	if _, tcp := c.LocalAddr().(*net.TCPAddr); tcp && !loopback(r.Host) {
		return &api.Error{Class: api.NotPermitted, Message: "the Host of the request is not one of this host's loopback addresses", Hint: "ask for localhost, 127.0.0.1 or [::1]"}
	}
	return nil
}

// loopback reports whether host, with or without a port, is a loopback address or
// the one name that always is.
func loopback(host string) bool {
	if h, _, err := net.SplitHostPort(host); err == nil {
		host = h
	}
	if strings.EqualFold(host, "localhost") {
		return true
	}
	a, err := netip.ParseAddr(strings.TrimSuffix(strings.TrimPrefix(host, "["), "]"))
	return err == nil && a.IsLoopback()
}
