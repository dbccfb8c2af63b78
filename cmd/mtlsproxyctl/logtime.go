package main

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"time"
)

const timeExamples = `want 2h or 1d12h for that long ago, 10:00, "2026-11-23 10:00", 2026-11-23T10:00:00Z, now, today or yesterday`

// parseTime reads a time as people write it. Times without a zone are of now's, and
// a time of day without a date is the latest one that has been.
func parseTime(s string, now time.Time) (time.Time, error) {
	midnight := time.Date(now.Year(), now.Month(), now.Day(), 0, 0, 0, 0, now.Location())
	switch s {
	case "now":
		return now, nil
	case "today":
		return midnight, nil
	case "yesterday":
		return midnight.AddDate(0, 0, -1), nil
	}
	if d, ok := parseAgo(s); ok {
		return now.Add(-d), nil
	}
	if t, err := time.Parse(time.RFC3339Nano, s); err == nil {
		return t, nil
	}
	for _, layout := range []string{"2006-01-02 15:04:05.999999999", "2006-01-02 15:04", "2006-01-02T15:04:05.999999999", "2006-01-02T15:04", time.DateOnly} {
		if t, err := time.ParseInLocation(layout, s, now.Location()); err == nil {
			return t, nil
		}
	}
	for _, layout := range []string{"15:04:05.999999999", "15:04"} {
		clock, err := time.Parse(layout, s)
		if err != nil {
			continue
		}
		t := time.Date(now.Year(), now.Month(), now.Day(), clock.Hour(), clock.Minute(), clock.Second(), clock.Nanosecond(), now.Location())
		if t.After(now) {
			t = time.Date(now.Year(), now.Month(), now.Day()-1, clock.Hour(), clock.Minute(), clock.Second(), clock.Nanosecond(), now.Location())
		}
		return t, nil
	}
	return time.Time{}, fmt.Errorf("not a time (got %q, %s)", s, timeExamples)
}

// longestAgo keeps sums of units within what a Duration can hold.
const longestAgo = 100 * 365 * 24 * time.Hour

// parseAgo reads a span of time: 90s, 1h30m, 2d, 1w.
func parseAgo(s string) (time.Duration, bool) {
	s = strings.TrimPrefix(s, "-") // as journalctl has it
	if !regexp.MustCompile(`^([0-9]{1,9}[smhdw])+$`).MatchString(s) {
		return 0, false
	}
	units := map[byte]time.Duration{'s': time.Second, 'm': time.Minute, 'h': time.Hour, 'd': 24 * time.Hour, 'w': 7 * 24 * time.Hour}
	var sum time.Duration
	for s != "" {
		end := strings.IndexAny(s, "smhdw")
		n, err := strconv.Atoi(s[:end])
		unit := units[s[end]]
		if err != nil || time.Duration(n) > longestAgo/unit {
			return 0, false
		}
		if sum += time.Duration(n) * unit; sum > longestAgo {
			return 0, false
		}
		s = s[end+1:]
	}
	return sum, true
}
