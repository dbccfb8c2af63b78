package http1

import (
	"math/rand/v2"
	"strings"
	"testing"
)

// What messages are put together from: the ordinary, its look-alikes, and bytes
// that some reader somewhere takes for something else. The first of each is plain.
var (
	someMethods = []string{"GET", "POST", "OPTIONS", "HEAD", "get", "M-SEARCH", "G\x00T"}
	someTargets = []string{"/", "/a/../b?c=d;e", "//x", "*", "http://b", "HTTP://b:8/?", "http://b?x", "http://[::1]:80/a", "/%2F?%2f",
		"/a%", "/#", "/?{}|\\^`[]", "/|[]", "http://u@b/", "http://b:/", "http://b:080/", "http:///", "/\x7f", "/a b", "?", "/:;@!"}
	someVersions = []string{"HTTP/1.1", "HTTP/1.0", "HTTP/1.2", "HTTP/2.0", "http/1.1", "HTTP/1.1 "}
	someStatuses = []string{"200 OK", "200", "204 ", "304 X", "100 Continue", "103 Hints", "101 Switching", "404  a\t", "500 \xe9", "099 x", "600 x", "2000"}
	someFields   = []string{"A: 1", "Host: a", "HOST:a:80", "Host: ", "Host: [::1]:1", "Content-Length: 5", "content-length:\t05 ", "Content-Length: 0",
		"Content-Length: 5, 5", "Content-Length: +5", "Content_Length: 3", "Transfer-Encoding: chunked", "transfer-encoding:CHUNKED",
		"Transfer-Encoding: gzip, chunked", "Transfer-Encoding: identity", "Transfer-Encoding : chunked", "Connection: close",
		"Connection: keep-alive, A", "Connection: close, upgrade,,A", "Connection:", "Keep-Alive: 5", "Upgrade: websocket", "Upgrade: h2c",
		"Trailer: X", "Trailer: Content-Length", "TE: trailers", "Expect: 100-continue", "Pragma: no-cache", "Pragma: x", "Cache-Control: y",
		"A:", "a:2 \t 3\t", "X_A: 1", "x-forwarded-for: 1", "Cookie: a=b", "Cookie: c", "Set-Cookie: a", "Set-Cookie: b", "B\xe9: 1",
		" folded", "A: \xe9\xff", "A: \x00", "A: b\rC: d", "A", ": 1", "A : 1", "!#$%&'*+-.^_`|~: 1", "Max-Forwards: 1", "Date: x"}
	someEnds   = []string{"\r\n", "\r\n", "\r\n", "\r\n", "\r\n", "\r\n", "\r\n", "\r\n", "\r\n", "\n", "\r\r\n", "\r\n\r\n"}
	someBodies = []string{"", "hello", "hellonext", "5\r\nhello\r\n0\r\n\r\n", "5;a=\"b\"\r\nhello\r\n00\r\nX: 1\r\nx: 2\r\n\r\nnext",
		"5 \r\nhello\r\n0\r\n\r\n", "5\r\nhello0\r\n\r\n", "0\r\nContent-Length: 5\r\nHost: b\r\n\r\nGET / HTTP/1.1\r\n\r\n",
		"0\r\nA : 1\r\n\r\n", "0\r\n b\r\n\r\n", "A\r\n0123456789\r\n0;x\r\n\r\n", "0x5\r\nhello\r\n0\r\n\r\n", "5\nhello\r\n0\r\n\r\n"}
)

// pick takes the plain one most of the time, so that most messages have one thing
// wrong at most.
func pick(r *rand.Rand, from []string) string {
	if r.IntN(3) > 0 {
		return from[0]
	}
	return from[r.IntN(len(from))]
}

func generate(r *rand.Rand, line string, fields ...string) []byte {
	var b strings.Builder
	b.WriteString(line + "\r\n")
	for range r.IntN(5) {
		fields = append(fields, someFields[r.IntN(len(someFields))])
	}
	r.Shuffle(len(fields), func(i, j int) { fields[i], fields[j] = fields[j], fields[i] })
	for _, f := range fields {
		b.WriteString(f)
		b.WriteString(pick(r, someEnds))
	}
	b.WriteString("\r\n" + someBodies[r.IntN(len(someBodies))])
	return []byte(b.String())
}

// TestGeneratedAgainstNetHTTP is the comparison of the fuzz targets for messages
// that bytes changed at random seldom reach. The messages are the same every time.
func TestGeneratedAgainstNetHTTP(t *testing.T) {
	const rounds = 20_000
	r := rand.New(rand.NewPCG(1, 2))
	requests, responses := 0, 0
	for range rounds {
		var host []string
		if r.IntN(8) > 0 {
			host = append(host, "Host: a")
		}
		line := pick(r, someMethods) + " " + pick(r, someTargets) + " " + pick(r, someVersions)
		if compareRequest(t, generate(r, line, host...)) {
			requests++
		}
		line = pick(r, someVersions) + " " + pick(r, someStatuses)
		if compareResponse(t, generate(r, line), r.IntN(4) == 0) {
			responses++
		}
	}
	t.Logf("of %d each, %d requests and %d responses are accepted", rounds, requests, responses)
	if requests < rounds/20 || responses < rounds/20 {
		t.Error("too few to tell anything")
	}
}
