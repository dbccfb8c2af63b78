package main

import (
	"testing"
	"time"
)

func TestParseTime(t *testing.T) {
	zone := time.FixedZone("CET", 3600)
	now := time.Date(2026, 11, 23, 12, 30, 15, 500, zone)
	for text, want := range map[string]string{
		"now":                           "2026-11-23T12:30:15.0000005+01:00",
		"today":                         "2026-11-23T00:00:00+01:00",
		"yesterday":                     "2026-11-22T00:00:00+01:00",
		"1h":                            "2026-11-23T11:30:15.0000005+01:00",
		"-1h":                           "2026-11-23T11:30:15.0000005+01:00",
		"1d12h":                         "2026-11-22T00:30:15.0000005+01:00",
		"90s":                           "2026-11-23T12:28:45.0000005+01:00",
		"1w":                            "2026-11-16T12:30:15.0000005+01:00",
		"0s":                            "2026-11-23T12:30:15.0000005+01:00",
		"10:00":                         "2026-11-23T10:00:00+01:00",
		"10:00:30.5":                    "2026-11-23T10:00:30.5+01:00",
		"12:31":                         "2026-11-22T12:31:00+01:00", // has not been yet today
		"2026-11-23":                    "2026-11-23T00:00:00+01:00",
		"2026-11-23 10:00":              "2026-11-23T10:00:00+01:00",
		"2026-11-23 10:00:01.25":        "2026-11-23T10:00:01.25+01:00",
		"2026-11-23T10:00":              "2026-11-23T10:00:00+01:00",
		"2026-11-23T10:00:00Z":          "2026-11-23T10:00:00Z",
		"2026-11-23T10:00:00.123-05:00": "2026-11-23T10:00:00.123-05:00",
	} {
		got, err := parseTime(text, now)
		if err != nil {
			t.Errorf("%s: %v", text, err)
			continue
		}
		if got.Format(time.RFC3339Nano) != want {
			t.Errorf("%s is %s, want %s", text, got.Format(time.RFC3339Nano), want)
		}
	}
}

func TestTheLatestTimeOfADayAcrossAChangeOfTheClock(t *testing.T) {
	zone, err := time.LoadLocation("Europe/Berlin")
	if err != nil {
		t.Skip("SKIP: there is no time zone database: ", err)
	}
	// On 25 October 2026 the clock goes from 3:00 back to 2:00; the day has 25 hours.
	now := time.Date(2026, 10, 25, 9, 0, 0, 0, zone)
	got, err := parseTime("10:00", now)
	if err != nil {
		t.Fatal(err)
	}
	if want := "2026-10-24T10:00:00+02:00"; got.Format(time.RFC3339) != want {
		t.Errorf("got %s, want %s", got.Format(time.RFC3339), want)
	}
}

func TestNotATime(t *testing.T) {
	for _, text := range []string{"", "soon", "1x", "h", "1h2", "1.5h", "25:00", "2026-13-01", "2026-11-23 25:00", "99999999999d", "999999999w", "5200w5200w", "tomorrow", "--1h", "１h"} {
		if got, err := parseTime(text, noon); err == nil {
			t.Errorf("%q is %v", text, got)
		}
	}
}

func FuzzParseTime(f *testing.F) {
	for _, text := range []string{"1h", "2026-11-23 10:00", "10:00", "2026-11-23T10:00:00Z", "9999999d"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		got, err := parseTime(text, noon)
		if _, ago := parseAgo(text); ago && (err != nil || got.After(noon)) {
			t.Errorf("%q is %v, %v", text, got, err)
		}
		if ago, ok := parseAgo(text); ok && (ago < 0 || ago > longestAgo) {
			t.Errorf("%q is %v ago", text, ago)
		}
	})
}
