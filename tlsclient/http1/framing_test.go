package http1

import (
	"fmt"
	"testing"
)

// framingRefused are fields that no message may have, whatever its kind.
var framingRefused = []struct {
	name, fields string
	want         *Error
}{
	{"length and coding", "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n", errBothFramings},
	{"coding and length", "Transfer-Encoding: chunked\r\nContent-Length: 5\r\n", errBothFramings},
	{"length of 0 and coding", "Content-Length: 0\r\nTransfer-Encoding: chunked\r\n", errBothFramings},

	{"length twice", "Content-Length: 5\r\nContent-Length: 5\r\n", errLengthTwice},
	{"length twice, different", "Content-Length: 5\r\nContent-Length: 6\r\n", errLengthTwice},
	{"length twice in another case", "Content-Length: 5\r\ncontent-length: 5\r\n", errLengthTwice},
	{"list of one length", "Content-Length: 5, 5\r\n", errLength},
	{"empty length", "Content-Length:\r\n", errLength},
	{"empty length before another", "Content-Length: \r\nContent-Length: 5\r\n", errLength},
	{"length with a plus", "Content-Length: +5\r\n", errLength},
	{"length with a minus", "Content-Length: -5\r\n", errLength},
	{"length with a space", "Content-Length: 5 5\r\n", errLength},
	{"length with an underscore", "Content-Length: 1_0\r\n", errLength},
	{"hexadecimal length", "Content-Length: 0x5\r\n", errLength},
	{"length with a fraction", "Content-Length: 5.0\r\n", errLength},
	{"length in other digits", "Content-Length: \xd9\xa5\r\n", errLength},
	{"length beyond 64 bits", "Content-Length: 18446744073709551621\r\n", errLength},
	{"length beyond 63 bits", "Content-Length: 9223372036854775808\r\n", errLength},
	{"length of 19 digits", "Content-Length: 0000000000000000005\r\n", errLength},

	{"coding twice", "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n", errCoding},
	{"two codings", "Transfer-Encoding: gzip, chunked\r\n", errCoding},
	{"chunked twice in a list", "Transfer-Encoding: chunked, chunked\r\n", errCoding},
	{"two codings on two lines", "Transfer-Encoding: gzip\r\nTransfer-Encoding: chunked\r\n", errCoding},
	{"chunked and a comma", "Transfer-Encoding: chunked,\r\n", errCoding},
	{"comma and chunked", "Transfer-Encoding: ,chunked\r\n", errCoding},
	{"chunked with a parameter", "Transfer-Encoding: chunked;q=1\r\n", errCoding},
	{"quoted chunked", "Transfer-Encoding: \"chunked\"\r\n", errCoding},
	{"vertical tab before chunked", "Transfer-Encoding: \vchunked\r\n", errFieldValue},
	{"almost chunked", "Transfer-Encoding: xchunked\r\n", errCoding},
	{"chunked with a Kelvin sign", "Transfer-Encoding: chun\u212aed\r\n", errCoding},
	{"gzip", "Transfer-Encoding: gzip\r\n", errCoding},
	{"identity", "Transfer-Encoding: identity\r\n", errCoding},
	{"empty coding", "Transfer-Encoding:\r\n", errCoding},
}

func TestFramingRefused(t *testing.T) {
	for _, c := range framingRefused {
		for _, start := range []string{"POST / HTTP/1.1\r\nHost: a\r\n", "GET / HTTP/1.0\r\n"} {
			t.Run(c.name+" of a request", func(t *testing.T) {
				if _, err := request(t, start+c.fields+"\r\n"); err != c.want {
					t.Errorf("%v, want %v", err, c.want)
				}
			})
		}
		for _, start := range []string{"HTTP/1.1 200 OK\r\n", "HTTP/1.0 200 OK\r\n", "HTTP/1.1 304 X\r\n", "HTTP/1.1 100 X\r\n"} {
			t.Run(c.name+" of a response", func(t *testing.T) {
				if _, err := response(t, "HEAD", start+c.fields+"\r\n"); err != c.want {
					t.Errorf("%v, want %v", err, c.want)
				}
			})
		}
	}
	t.Run("coding of an HTTP/1.0 request", func(t *testing.T) {
		if _, err := request(t, "POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n"); err != errCodingOld {
			t.Errorf("%v, want %v", err, errCodingOld)
		}
	})
	t.Run("coding of an HTTP/1.0 response", func(t *testing.T) {
		if _, err := response(t, "GET", "HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"); err != errCodingOld {
			t.Errorf("%v, want %v", err, errCodingOld)
		}
	})
}

func TestFramingOfRequest(t *testing.T) {
	for _, c := range []struct {
		fields  string
		framing Framing
		length  int64
	}{
		{"", NoBody, 0},
		{"Content-Length: 0\r\n", ByLength, 0},
		{"Content-Length: 5\r\n", ByLength, 5},
		{"CONTENT-LENGTH:\t005 \r\n", ByLength, 5},
		{"Content-Length: 999999999999999999\r\n", ByLength, 999999999999999999},
		{"Transfer-Encoding: chunked\r\n", Chunked, 0},
		{"transfer-encoding:  Chunked\t\r\n", Chunked, 0},
		{"Content_Length: 5\r\n", NoBody, 0},
		{"Transfer_Encoding: chunked\r\nContent-Length: 5\r\n", ByLength, 5},
	} {
		for _, method := range []string{"GET", "HEAD", "POST", "DELETE", "OPTIONS"} {
			t.Run(method+" "+c.fields, func(t *testing.T) {
				r := accepted(t, method+" / HTTP/1.1\r\nHost: a\r\n"+c.fields+"\r\n")
				if r.Framing != c.framing || r.Length != c.length {
					t.Errorf("framing %d, length %d; want %d, %d", r.Framing, r.Length, c.framing, c.length)
				}
				if want := c.framing == Chunked || c.length > 0; r.HasBody() != want {
					t.Errorf("HasBody is %v", r.HasBody())
				}
			})
		}
	}
}

func TestFramingOfResponse(t *testing.T) {
	const length, coding = "Content-Length: 5\r\n", "Transfer-Encoding: chunked\r\n"
	for _, c := range []struct {
		method, status, fields string
		framing                Framing
		length                 int64
	}{
		{"GET", "200", length, ByLength, 5},
		{"GET", "200", "Content-Length: 0\r\n", ByLength, 0},
		{"GET", "200", coding, Chunked, -1},
		{"GET", "200", "", ByClose, -1},
		{"POST", "201", length, ByLength, 5},
		{"GET", "205", length, ByLength, 5},
		{"GET", "404", coding, Chunked, -1},
		{"GET", "500", "", ByClose, -1},

		{"HEAD", "200", length, NoBody, 5},
		{"HEAD", "200", coding, NoBody, -1},
		{"HEAD", "200", "", NoBody, -1},
		{"HEAD", "404", length, NoBody, 5},

		{"GET", "204", "", NoBody, -1},
		{"GET", "204", length, NoBody, 5},
		{"GET", "204", coding, NoBody, -1},
		{"GET", "304", "", NoBody, -1},
		{"GET", "304", length, NoBody, 5},
		{"GET", "304", coding, NoBody, -1},
		{"GET", "100", "", NoBody, -1},
		{"GET", "103", length, NoBody, 5},
		{"GET", "103", coding, NoBody, -1},
		{"GET", "101", length, NoBody, 5},
	} {
		t.Run(fmt.Sprintf("%s %s %s", c.method, c.status, c.fields), func(t *testing.T) {
			r, err := response(t, c.method, "HTTP/1.1 "+c.status+" X\r\n"+c.fields+"\r\n")
			if err != nil {
				t.Fatal(err)
			}
			if r.Framing != c.framing || r.Length != c.length {
				t.Errorf("framing %d, length %d; want %d, %d", r.Framing, r.Length, c.framing, c.length)
			}
		})
	}
}
