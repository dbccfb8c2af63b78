package http1

import (
	"bufio"
	"bytes"
	"io"
	"net/http"
	"net/textproto"
	"net/url"
	"reflect"
	"strings"
	"testing"
)

// The targets in this file hold that whatever we accept, net/http accepts too and
// reads the same: an upstream in Go must not see another message than the one that
// was routed. It accepts much that we refuse, which is not compared.

// comparedSize is above any message in the comparison. It stays below the limits of
// net/http on a line (4096 bytes) and on what is not data in a chunked body.
const comparedSize = 4000

// ownRead is a message read to its end by us.
type ownRead struct {
	body, left string
	trailers   http.Header
}

// readOwn reads the body behind a head; ok is false if it is broken or cut.
func readOwn(rest []byte, framing Framing, length int64) (own ownRead, ok bool) {
	b, src := buffered(framing, length, string(rest))
	src.Src = &pieces{}
	body, err := readAll(b)
	return ownRead{body, string(src.Buffered()), canonical(b.Trailers)}, err == nil
}

// canonical gathers fields the way net/http does: values in order by name. Nil and
// empty are the same to it.
func canonical(fields []Field) http.Header {
	h := http.Header{}
	for _, f := range fields {
		name := textproto.CanonicalMIMEHeaderKey(string(f.Name))
		h[name] = append(h[name], string(f.Value))
	}
	return h
}

// forgotten removes what net/http keeps elsewhere than in the header or, in the
// case of Pragma, adds to it.
func forgotten(h http.Header, chunked bool) {
	delete(h, "Transfer-Encoding")
	if chunked {
		delete(h, "Trailer")
	}
	if p := h["Pragma"]; len(p) > 0 && p[0] == "no-cache" && len(h["Cache-Control"]) == 0 {
		h["Cache-Control"] = []string{"no-cache"}
	}
}

// refusedByNetHTTP are the heads that we accept and net/http does not: a Trailer
// field that announces fields which frame messages. We drop such trailers when they
// come; net/http refuses their announcement.
func refusedByNetHTTP(err error) bool {
	return strings.Contains(err.Error(), "bad trailer key")
}

func compare(t *testing.T, what string, net, own any) {
	t.Helper()
	if !reflect.DeepEqual(net, own) {
		t.Fatalf("%s\nnet/http: %q\n    here: %q", what, net, own)
	}
}

// compareBody reads net/http's body to its end and compares what it shows.
func compareBody(t *testing.T, br *bufio.Reader, body io.ReadCloser, trailers *http.Header, own ownRead) {
	t.Helper()
	data, err := io.ReadAll(body)
	if err != nil {
		t.Fatalf("net/http reads %q, then %v; here the body is %q", data, err, own.body)
	}
	body.Close()
	left, _ := io.ReadAll(br)
	compare(t, "body", string(data), own.body)
	compare(t, "what follows", string(left), own.left)
	got := http.Header{}
	for name, values := range *trailers {
		if len(values) > 0 { // announced and sent
			got[name] = values
		}
	}
	compare(t, "trailers", got, own.trailers)
}

func FuzzRequestAgainstNetHTTP(f *testing.F) {
	for _, s := range requestSeeds {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) { compareRequest(t, b) })
}

// compareRequest reports whether we accept the whole of a request.
func compareRequest(t *testing.T, b []byte) bool {
	head, rest, ok := cutHead(t, b)
	var r Request
	if len(b) > comparedSize || !ok || r.Parse(head, DefaultLimits()) != nil {
		return false
	}
	own, ok := readOwn(rest, r.Framing, r.Length)
	if !ok {
		return false
	}
	br := bufio.NewReaderSize(bytes.NewReader(b), 2*comparedSize)
	req, err := http.ReadRequest(br)
	if err != nil {
		if !refusedByNetHTTP(err) {
			t.Fatalf("net/http refuses %q: %v", head, err)
		}
		return true
	}
	compare(t, "method", req.Method, string(r.Method))
	compare(t, "target", req.RequestURI, string(r.Target))
	compare(t, "host", req.Host, string(r.Authority))
	compareURL(t, req.URL, &r)
	header := canonical(r.Fields)
	delete(header, "Host")
	forgotten(header, r.Framing == Chunked)
	compare(t, "header", req.Header, header)
	compareBody(t, br, req.Body, &req.Trailer, own)
	return true
}

// compareURL compares path and query. net/http keeps the path decoded, and leaves
// it empty where RFC 9112 3.2.4 gives an absolute target without one a meaning.
func compareURL(t *testing.T, u *url.URL, r *Request) {
	t.Helper()
	path, query, _ := strings.Cut(string(r.Path), "?")
	decoded, err := url.PathUnescape(path)
	if err != nil {
		t.Fatalf("%q was accepted: %v", path, err)
	}
	if r.Form == Absolute && u.Path == "" && (path == "/" || path == "*") {
		decoded = ""
	}
	compare(t, "path", u.Path, decoded)
	compare(t, "query", u.RawQuery, query)
}

func FuzzResponseAgainstNetHTTP(f *testing.F) {
	for _, s := range responseSeeds {
		f.Add([]byte(s), false)
		f.Add([]byte(s), true)
	}
	f.Fuzz(func(t *testing.T, b []byte, toHead bool) { compareResponse(t, b, toHead) })
}

// compareResponse reports whether we accept the whole of a response.
func compareResponse(t *testing.T, b []byte, toHead bool) bool {
	head, rest, ok := cutHead(t, b)
	var r Response
	if len(b) > comparedSize || !ok || r.Parse(head, toHead, DefaultLimits()) != nil {
		return false
	}
	own, ok := readOwn(rest, r.Framing, r.Length)
	if !ok {
		return false
	}
	method := http.MethodGet
	if toHead {
		method = http.MethodHead
	}
	br := bufio.NewReaderSize(bytes.NewReader(b), 2*comparedSize)
	resp, err := http.ReadResponse(br, &http.Request{Method: method})
	if err != nil {
		if !refusedByNetHTTP(err) {
			t.Fatalf("net/http refuses %q: %v", head, err)
		}
		return true
	}
	compare(t, "status", resp.StatusCode, r.Status)
	// net/http trims the blanks before the reason.
	_, reason, _ := strings.Cut(resp.Status, " ")
	compare(t, "reason", strings.TrimLeft(reason, " "), strings.TrimLeft(string(r.Reason), " "))
	// A 204 that announces a body is the end of the connection for us only.
	if r.Status != 204 {
		compare(t, "close", resp.Close, r.Close)
	}
	header := canonical(r.Fields)
	forgotten(header, header["Transfer-Encoding"] != nil)
	delete(header, "Connection") // net/http removes one that says close
	delete(resp.Header, "Connection")
	compare(t, "header", resp.Header, header)
	compareBody(t, br, resp.Body, &resp.Trailer, own)
	return true
}
