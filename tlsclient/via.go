package tlsclient

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strings"
	"time"

	"github.com/mtlsproxy/mtlsproxy/tlsclient/http1"
)

// Via is an HTTP proxy that makes the TCP connections to endpoints, RFC 9110 9.3.6. What
// goes through it is TLS from end to end; that it is asked to, goes in clear, and so do
// its credentials. It looks up the endpoints' names.
type Via struct {
	Address     Address
	Credentials Credentials
}

// Credentials are "user:password", or empty for none. They are not shown.
type Credentials string

// String implements fmt.Stringer.
func (c Credentials) String() string { return "not shown" }

// GoString implements fmt.GoStringer.
func (c Credentials) GoString() string { return "not shown" }

// MarshalText implements encoding.TextMarshaler, for JSON and logs.
func (c Credentials) MarshalText() ([]byte, error) { return []byte(c.String()), nil }

// ReadCredentials reads a file that holds user:password in its first line. Like a key's,
// its mode must keep others out.
func ReadCredentials(path string) (Credentials, error) {
	data, _, bad := part{what: "credentials", path: path, secret: true}.read()
	if bad != nil {
		return "", bad
	}
	line := string(firstLine(data))
	if user, _, ok := strings.Cut(line, ":"); !ok || user == "" || strings.ContainsFunc(line, func(r rune) bool { return r < ' ' || r == 0x7f }) {
		return "", fmt.Errorf("credentials %q: the first line is not user:password; write it there, in clear", path)
	}
	return Credentials(line), nil
}

// same reports whether two proxies are one, whatever the credentials.
func (v *Via) same(other *Via) bool {
	if v == nil || other == nil {
		return v == other
	}
	return v.Address == other.Address
}

// refusal is a proxy's answer other than 2xx.
type refusal struct {
	status int
}

func (r *refusal) Error() string {
	text := fmt.Sprintf("it refused to connect: %d %s", r.status, http.StatusText(r.status)) // its own words may repeat the credentials
	if r.status == 407 {
		text += "; it wants credentials, or other ones: see via_credentials_file"
	}
	return text
}

// isRefusal reports whether err is one, which asking again would not change.
func isRefusal(err error) bool {
	_, ok := errors.AsType[*refusal](err)
	return ok
}

// explain names the proxy in an error. There may be neither.
func (v *Via) explain(err error) error {
	if v == nil || err == nil {
		return err
	}
	return fmt.Errorf("through the proxy %s: %w", v.Address, err)
}

// tunnel asks the proxy at the other end of tcp to connect to target, host:port. It
// closes tcp if that fails.
func (v *Via) tunnel(ctx context.Context, tcp net.Conn, target string) (net.Conn, error) {
	end, _ := ctx.Deadline()
	err := tcp.SetDeadline(end)
	stop := context.AfterFunc(ctx, func() { _ = tcp.SetDeadline(time.Unix(1, 0)) }) // fails only on a closed socket
	if err == nil {
		err = v.ask(tcp, target)
	}
	if !stop() && err == nil {
		err = ctx.Err()
	}
	if err == nil {
		err = tcp.SetDeadline(time.Time{})
	}
	if err != nil {
		_ = tcp.Close() // the error below matters more
		return nil, err
	}
	return tcp, nil
}

// maxAnswer bounds the head of a proxy's answer.
const maxAnswer = 16 << 10

func (v *Via) ask(tcp net.Conn, target string) error {
	request := "CONNECT " + target + " HTTP/1.1\r\nHost: " + target + "\r\n"
	if v.Credentials != "" {
		request += "Proxy-Authorization: Basic " + base64.StdEncoding.EncodeToString([]byte(v.Credentials)) + "\r\n"
	}
	if _, err := tcp.Write([]byte(request + "\r\n")); err != nil {
		return err
	}
	reader := http1.Reader{Src: tcp, Buf: make([]byte, maxAnswer)}
	for from := 0; ; {
		n, next, err := http1.FindHead(reader.Buffered(), from)
		switch {
		case err != nil:
			return fmt.Errorf("its answer is no HTTP: %w", err)
		case n > 0:
			return judge(reader.Take(n), reader.Empty())
		}
		from = next
		if err := reader.Fill(); err != nil {
			return fmt.Errorf("reading its answer: %w", err)
		}
	}
}

// judge finds out whether an answer means that the tunnel is there. The server's first
// word in a handshake follows ours, so what comes with the answer is not the server's.
func judge(head []byte, alone bool) error {
	status := parseStatus(head)
	switch {
	case status == 0:
		return errors.New("its answer is no HTTP")
	case status/100 != 2:
		return &refusal{status: status}
	case !alone:
		return errors.New("it sent more than an answer before the TLS handshake")
	}
	return nil
}

// parseStatus reads no more of a head than its first line: in an answer to CONNECT no
// field means anything, RFC 9110 9.3.6. It returns 0 for what is no answer.
func parseStatus(head []byte) int {
	line, _, _ := bytes.Cut(head, []byte("\r\n"))
	var r http1.Response
	if err := r.Parse(append(bytes.Clone(line), "\r\n\r\n"...), true, http1.DefaultLimits()); err != nil {
		return 0
	}
	return r.Status
}
