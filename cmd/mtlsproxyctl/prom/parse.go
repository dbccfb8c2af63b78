package prom

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
)

// Most that is read of one line, and of one exposition.
const (
	maxLine   = 64 << 10
	maxSeries = 1 << 20
)

// Series is one value with its labels.
type Series struct {
	Labels map[string]string
	Value  float64
}

// Sample is all values of one exposition, by the names of their metrics.
type Sample map[string][]Series

// Parse reads an exposition. An error names the line.
func Parse(r io.Reader) (Sample, error) {
	out := Sample{}
	lines := bufio.NewScanner(r)
	lines.Buffer(nil, maxLine)
	n, series := 0, 0
	for lines.Scan() {
		n++
		line := strings.TrimSpace(lines.Text())
		if line == "" || line[0] == '#' {
			continue
		}
		name, s, err := parseLine(line)
		if err != nil {
			return nil, fmt.Errorf("metrics, line %d: %w", n, err)
		}
		if series++; series > maxSeries {
			return nil, fmt.Errorf("metrics, line %d: more than %d values", n, maxSeries)
		}
		out[name] = append(out[name], s)
	}
	if err := lines.Err(); err != nil {
		return nil, fmt.Errorf("metrics, after line %d: %w", n, err)
	}
	return out, nil
}

var (
	errName   = errors.New("there is no name of a metric")
	errLabels = errors.New("the labels are malformed")
	errValue  = errors.New("the value is no number")
)

// parseLine reads: name{label="value",…} value [timestamp].
func parseLine(line string) (string, Series, error) {
	end := strings.IndexAny(line, "{ \t")
	if end <= 0 || !isName(line[:end]) {
		return "", Series{}, errName
	}
	name, rest := line[:end], strings.TrimLeft(line[end:], " \t")
	var s Series
	if strings.HasPrefix(rest, "{") {
		var err error
		if s.Labels, rest, err = parseLabels(rest[1:]); err != nil {
			return "", Series{}, err
		}
	}
	fields := strings.Fields(rest)
	if len(fields) < 1 || len(fields) > 2 {
		return "", Series{}, errValue
	}
	value, err := strconv.ParseFloat(fields[0], 64)
	if err != nil && !errors.Is(err, strconv.ErrRange) {
		return "", Series{}, errValue
	}
	s.Value = value
	return name, s, nil
}

// parseLabels reads up to the closing brace, and returns what follows.
func parseLabels(rest string) (map[string]string, string, error) {
	labels := map[string]string{}
	for {
		rest = strings.TrimLeft(rest, " \t")
		if after, ok := strings.CutPrefix(rest, "}"); ok {
			return labels, after, nil
		}
		name, after, ok := strings.Cut(rest, "=")
		name = strings.TrimSpace(name)
		if !ok || !isName(name) {
			return nil, "", errLabels
		}
		value, after, err := parseQuoted(strings.TrimLeft(after, " \t"))
		if err != nil {
			return nil, "", err
		}
		labels[name] = value
		rest = strings.TrimLeft(after, " \t")
		switch {
		case strings.HasPrefix(rest, ","):
			rest = rest[1:]
		case !strings.HasPrefix(rest, "}"):
			return nil, "", errLabels
		}
	}
}

// parseQuoted reads a label's value, in which \\, \" and \n are escapes.
func parseQuoted(s string) (value, rest string, err error) {
	if !strings.HasPrefix(s, `"`) {
		return "", "", errLabels
	}
	var b strings.Builder
	for i := 1; i < len(s); i++ {
		switch s[i] {
		case '"':
			return b.String(), s[i+1:], nil
		case '\\':
			if i++; i == len(s) {
				return "", "", errLabels
			}
			if s[i] == 'n' {
				b.WriteByte('\n')
			} else {
				b.WriteByte(s[i])
			}
		default:
			b.WriteByte(s[i])
		}
	}
	return "", "", errLabels
}

func isName(s string) bool {
	for i, r := range s {
		letter := r == '_' || r == ':' || r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z'
		if !letter && (i == 0 || r < '0' || r > '9') {
			return false
		}
	}
	return s != ""
}
