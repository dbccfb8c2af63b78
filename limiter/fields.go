package limiter

import (
	"strconv"
	"time"
)

// What a client is told of a Rate, as draft-ietf-httpapi-ratelimit-headers-10 has
// it: lists of strings with parameters, RFC 9651.

// AppendPolicy appends the value of a RateLimit-Policy field for the policy name,
// such as `"name";q=200;w=1`: quota and window in seconds. It appends nothing if
// there is no bound.
func (o RateOptions) AppendPolicy(dst []byte, name string) []byte {
	if newBucket(o).interval == 0 {
		return dst
	}
	window := seconds(o.Per)
	dst = append(appendString(dst, name), ";q="...)
	// A window that is no whole number of seconds grows to one, and the quota with it.
	quota := float64(o.Requests) * float64(window) * float64(time.Second) / float64(o.Per)
	dst = strconv.AppendInt(dst, int64(quota), 10)
	return strconv.AppendInt(append(dst, ";w="...), window, 10)
}

// AppendLimit appends the value of a RateLimit field for the policy name, such as
// `"name";r=0;t=3`: tokens left, and seconds until there is another, rounded up. It
// appends nothing if there is no bound.
func (v Verdict) AppendLimit(dst []byte, name string) []byte {
	if v.Limit == 0 {
		return dst
	}
	dst = append(appendString(dst, name), ";r="...)
	dst = strconv.AppendInt(dst, int64(v.Remaining), 10)
	return strconv.AppendInt(append(dst, ";t="...), seconds(v.Reset), 10)
}

// RetryAfter is the value of a Retry-After field, RFC 9110 10.2.3, for a request
// that was not OK: seconds, rounded up.
func (v Verdict) RetryAfter() int64 { return seconds(v.Retry) }

// seconds rounds up to whole seconds, of which there is at least one.
func seconds(d time.Duration) int64 {
	n := int64(d / time.Second)
	if d%time.Second > 0 {
		n++
	}
	return max(n, 1)
}

// appendString appends s as a String of RFC 9651 section 3.3.3. What cannot stand in
// one becomes a question mark.
func appendString(dst []byte, s string) []byte {
	dst = append(dst, '"')
	for _, c := range s {
		switch {
		case c == '"' || c == '\\':
			dst = append(dst, '\\', byte(c))
		case c < ' ' || c > '~':
			dst = append(dst, '?')
		default:
			dst = append(dst, byte(c))
		}
	}
	return append(dst, '"')
}
