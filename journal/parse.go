package journal

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
)

// FilterNames are the names that [Filter.Set] knows.
var FilterNames = []string{
	"caller", "class", "endpoint", "fault", "from", "host", "id", "listener", "max", "method", "min", "path", "route",
	"status", "to", "upstream",
}

// Set adds a condition that is given as text, as in the parameters of an HTTP query.
// Lists are separated by commas, and setting one twice adds to it.
//
//	from, to      RFC 3339 time, Unix seconds, or a duration before now ("15m", "36h")
//	id            of the request
//	listener, route, upstream, endpoint, method, fault   names; "" for those that had none
//	caller        uid, or "unknown"
//	status        "404", "400-499", "5xx"; "0" if nothing was sent
//	class         error class, or "any"
//	min, max      bounds of the total duration ("250ms")
//	host, path    pattern: * stands for any characters, slashes included, ? for one; at most 256 bytes
func (f *Filter) Set(name, value string, now time.Time) error {
	var err error
	switch name {
	case "from":
		f.From, err = parseTime(value, now)
	case "to":
		f.To, err = parseTime(value, now)
	case "id":
		f.ID = value
	case "listener":
		f.Listener = append(f.Listener, strings.Split(value, ",")...)
	case "route":
		f.Route = append(f.Route, strings.Split(value, ",")...)
	case "upstream":
		f.Upstream = append(f.Upstream, strings.Split(value, ",")...)
	case "endpoint":
		f.Endpoint = append(f.Endpoint, strings.Split(value, ",")...)
	case "method":
		f.Method = append(f.Method, strings.Split(value, ",")...)
	case "class":
		f.Class = append(f.Class, strings.Split(value, ",")...)
	case "fault":
		err = f.setFault(value)
	case "caller":
		err = each(value, &f.Caller, parseCaller)
	case "status":
		err = each(value, &f.Status, parseStatus)
	case "min":
		f.MinTotal, err = parseTotal(value)
	case "max":
		f.MaxTotal, err = parseTotal(value)
	case "host":
		f.Host, err = strings.ToLower(value), checkPattern(value)
	case "path":
		f.Path, err = value, checkPattern(value)
	default:
		return fmt.Errorf("no filter is named %q; there are %s", name, strings.Join(FilterNames, ", "))
	}
	if err != nil {
		return fmt.Errorf("filter %s: %w", name, err)
	}
	return nil
}

func each[T any](list string, to *[]T, parse func(string) (T, error)) error {
	for s := range strings.SplitSeq(list, ",") {
		v, err := parse(strings.TrimSpace(s))
		if err != nil {
			return err
		}
		*to = append(*to, v)
	}
	return nil
}

func (f *Filter) setFault(list string) error {
	faults := []string{"client", "upstream", "self", ""}
	return each(list, &f.Fault, func(s string) (string, error) {
		if !slices.Contains(faults, s) {
			return "", fmt.Errorf("%q is nobody's fault; want client, upstream or self", s)
		}
		return s, nil
	})
}

func parseTime(s string, now time.Time) (time.Time, error) {
	const year9999 = 253402300799
	if n, err := strconv.ParseInt(s, 10, 64); err == nil && n >= 0 && n <= year9999 { // "0" is a duration as well
		return time.Unix(n, 0), nil
	}
	if d, err := time.ParseDuration(s); err == nil {
		return now.Add(-max(d, -d)), nil
	}
	if t, err := time.Parse(time.RFC3339, s); err == nil {
		return t, nil
	}
	return time.Time{}, fmt.Errorf("%q is no time; want one like 2026-05-04T13:00:00Z, Unix seconds, or a duration before now like 15m", s)
}

func parseTotal(s string) (time.Duration, error) {
	d, err := time.ParseDuration(s)
	if err != nil || d < 0 {
		return 0, fmt.Errorf("%q is no duration; want one like 250ms or 3s", s)
	}
	return d, nil
}

func parseCaller(s string) (int64, error) {
	if s == "unknown" {
		return NoCaller, nil
	}
	uid, err := strconv.ParseUint(s, 10, 32)
	if err != nil {
		return 0, fmt.Errorf("%q is no uid; want a number, or unknown", s)
	}
	return int64(uid), nil
}

func parseStatus(s string) (StatusRange, error) {
	if len(s) == 3 && strings.EqualFold(s[1:], "xx") && s[0] >= '1' && s[0] <= '9' {
		low := int(s[0]-'0') * 100
		return StatusRange{low, low + 99}, nil
	}
	from, to, isRange := strings.Cut(s, "-")
	if !isRange {
		to = from
	}
	low, err := strconv.ParseUint(from, 10, 16)
	high, err2 := strconv.ParseUint(to, 10, 16)
	if err != nil || err2 != nil || low > high || high > 999 {
		return StatusRange{}, fmt.Errorf("%q is no status; want one like 404, a range like 400-499, or 5xx", s)
	}
	return StatusRange{int(low), int(high)}, nil
}
