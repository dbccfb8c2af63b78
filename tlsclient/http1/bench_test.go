package http1

import (
	"bytes"
	"strings"
	"testing"
)

// A request and a response as they are common between services.
const (
	typicalRequest = "POST /v1/accounts/7d1f2c3a/transfers?limit=50&after=2026-01-01T00%3A00%3A00Z HTTP/1.1\r\n" +
		"Host: billing.local:8980\r\n" +
		"User-Agent: ledger/4.11.2 (linux; amd64)\r\n" +
		"Accept: application/json\r\n" +
		"Accept-Encoding: gzip\r\n" +
		"Authorization: Bearer eyJhbGciOiJFZERTQSJ9.eyJzdWIiOiJsZWRnZXIiLCJhdWQiOiJiaWxsaW5nIn0.c2lnbmF0dXJlLXdpdGgtc29tZS1sZW5ndGg\r\n" +
		"Content-Type: application/json\r\n" +
		"Content-Length: 312\r\n" +
		"Traceparent: 00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01\r\n" +
		"Connection: keep-alive\r\n\r\n"
	typicalResponse = "HTTP/1.1 200 OK\r\n" +
		"Date: Mon, 23 Nov 2026 10:11:12 GMT\r\n" +
		"Content-Type: application/json; charset=utf-8\r\n" +
		"Content-Length: 1840\r\n" +
		"Cache-Control: no-store\r\n" +
		"Etag: \"33a64df551425fcc55e4d42a148795d9f25f89d4\"\r\n" +
		"Strict-Transport-Security: max-age=63072000\r\n" +
		"Vary: Accept-Encoding\r\n" +
		"Server: billing/9.3\r\n\r\n"
)

func BenchmarkFindHead(b *testing.B) {
	head := []byte(typicalRequest)
	b.SetBytes(int64(len(head)))
	for b.Loop() {
		if n, _, _ := FindHead(head, 0); n != len(head) {
			b.Fatal(n)
		}
	}
}

func BenchmarkParseRequest(b *testing.B) {
	var r Request
	head, limits := []byte(typicalRequest), DefaultLimits()
	b.SetBytes(int64(len(head)))
	b.ReportAllocs()
	for b.Loop() {
		if err := r.Parse(head, limits); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkParseResponse(b *testing.B) {
	var r Response
	head, limits := []byte(typicalResponse), DefaultLimits()
	b.SetBytes(int64(len(head)))
	b.ReportAllocs()
	for b.Loop() {
		if err := r.Parse(head, false, limits); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkParseHostileConnection is the most work that a Connection field can
// make: a full head of it.
func BenchmarkParseHostileConnection(b *testing.B) {
	for _, list := range []string{"x,", "close,", " ,"} {
		b.Run(list, func(b *testing.B) {
			var r Request
			head, limits := hostileConnection(list), DefaultLimits()
			b.SetBytes(int64(len(head)))
			for b.Loop() {
				_ = r.Parse(head, limits)
			}
		})
	}
}

func BenchmarkAppendFields(b *testing.B) {
	var r Request
	if err := r.Parse([]byte(typicalRequest), DefaultLimits()); err != nil {
		b.Fatal(err)
	}
	dst := make([]byte, 0, 4<<10)
	b.ReportAllocs()
	for b.Loop() {
		dst = AppendFields(dst[:0], r.Fields)
	}
	b.SetBytes(int64(len(dst)))
}

func BenchmarkChunked(b *testing.B) {
	for name, size := range map[string]int{"size=1": 1, "size=100": 100, "size=4096": 4096} {
		b.Run(name, func(b *testing.B) { benchmarkChunked(b, size) })
	}
}

func benchmarkChunked(b *testing.B, size int) {
	var wire []byte
	for range 64 {
		wire = AppendChunk(wire, bytes.Repeat([]byte("x"), size))
	}
	wire = AppendLastChunk(wire, nil)
	var src Reader
	var body Body
	b.SetBytes(int64(len(wire)))
	b.ReportAllocs()
	for b.Loop() {
		src.Reset(wire, len(wire))
		body.Open(&src, Chunked, 0, nil)
		for !body.Done() {
			if _, err := body.Step(); err != nil && !body.Done() {
				b.Fatal(err)
			}
		}
	}
}

// BenchmarkComplete looks through a body of 64 small chunks without reading it.
func BenchmarkComplete(b *testing.B) {
	var wire []byte
	for range 64 {
		wire = AppendChunk(wire, []byte("0123456789"))
	}
	wire = AppendLastChunk(wire, nil)
	var src Reader
	var body Body
	src.Reset(wire, len(wire))
	body.Open(&src, Chunked, 0, nil)
	b.ReportAllocs()
	for b.Loop() {
		if !body.Complete() {
			b.Fatal("not complete")
		}
	}
}

// hostileConnection is a head near its limit with 100 fields, most of it in one
// Connection field.
func hostileConnection(list string) []byte {
	head := []byte("GET / HTTP/1.1\r\nHost: a\r\nConnection: " + strings.Repeat("x,", maxOptions-1))
	head = append(head, bytes.Repeat([]byte(list), (60<<10)/len(list))...)
	head = append(head, "\r\n"...)
	head = append(head, bytes.Repeat([]byte("b: 1\r\n"), 98)...)
	return append(head, "\r\n"...)
}
