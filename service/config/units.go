package config

import (
	"math"
	"strconv"
	"strings"
	"time"
)

const (
	durationForms = `a number with a unit such as "250ms", "3s", "1m30s", "1h" or "2d"`
	sizeForms     = `bytes, or a number with a unit such as "512B", "64KiB" or "10MB"`
)

// durationUnits is in the order in which the units may follow each other.
func durationUnits() []unit {
	return []unit{
		{"d", int64(day)}, {"h", int64(time.Hour)}, {"m", int64(time.Minute)},
		{"s", int64(time.Second)}, {"ms", int64(time.Millisecond)},
	}
}

// sizeUnits is in the order in which formatSize tries them.
func sizeUnits() []unit {
	return []unit{
		{"GiB", 1 << 30}, {"MiB", 1 << 20}, {"KiB", 1 << 10},
		{"GB", 1e9}, {"MB", 1e6}, {"kB", 1e3}, {"KB", 1e3}, {"B", 1},
	}
}

type unit struct {
	name string
	size int64
}

// parseDuration reads "1m30s": whole numbers, each unit at most once, the large
// ones first.
func parseDuration(s string) (time.Duration, *fault) {
	if _, err := strconv.ParseInt(s, 10, 64); err == nil {
		return 0, wrong("has no unit", durationForms)
	}
	malformed := wrong("not a duration", durationForms)
	units := durationUnits()
	var total int64
	for rest := s; rest != ""; {
		number, name, tail := cutNumber(rest)
		i := 0
		for i < len(units) && units[i].name != name {
			i++
		}
		if number == "" || i == len(units) {
			return 0, malformed
		}
		n, err := strconv.ParseInt(number, 10, 64)
		if err != nil || n > (math.MaxInt64-total)/units[i].size {
			return 0, wrong("too long a time", "")
		}
		total += n * units[i].size
		units = units[i+1:]
		rest = tail
	}
	return time.Duration(total), nil
}

// cutNumber splits "90s5ms" into "90", "s" and "5ms".
func cutNumber(s string) (number, name, rest string) {
	const digits = "0123456789"
	rest = strings.TrimLeft(s, digits)
	number = s[:len(s)-len(rest)]
	i := strings.IndexAny(rest, digits)
	if i < 0 {
		i = len(rest)
	}
	return number, rest[:i], rest[i:]
}

// formatDuration is the inverse of parseDuration.
func formatDuration(d time.Duration) string {
	if d == 0 {
		return "0s"
	}
	var b strings.Builder
	rest := int64(d)
	for _, u := range durationUnits() {
		if n := rest / u.size; n > 0 {
			b.WriteString(strconv.FormatInt(n, 10) + u.name)
			rest -= n * u.size
		}
	}
	return b.String()
}

// parseSize reads "64KiB", or plain bytes.
func parseSize(s string) (int64, *fault) {
	number, name, rest := cutNumber(strings.ReplaceAll(s, "_", ""))
	if name == "" {
		name = "B"
	}
	for _, u := range sizeUnits() {
		if u.name != name || number == "" || rest != "" {
			continue
		}
		n, err := strconv.ParseInt(number, 10, 64)
		if err != nil || n > math.MaxInt64/u.size {
			return 0, wrong("too large", "")
		}
		return n * u.size, nil
	}
	return 0, wrong("not a size", sizeForms)
}

// formatSize writes the largest unit that divides the size.
func formatSize(n int64) string {
	for _, u := range sizeUnits() {
		if n >= u.size && n%u.size == 0 {
			return strconv.FormatInt(n/u.size, 10) + u.name
		}
	}
	return strconv.FormatInt(n, 10) + "B"
}
