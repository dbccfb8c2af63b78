package text

import (
	"fmt"
	"math"
	"strconv"
	"time"
)

// Bytes writes a size: 1.2 MiB.
func Bytes[T int64 | uint64 | float64](n T) string {
	v := float64(n)
	if math.Abs(v) < 1024 {
		return strconv.FormatFloat(math.Round(v), 'f', 0, 64) + " B"
	}
	for _, unit := range []string{"KiB", "MiB", "GiB", "TiB"} {
		if v /= 1024; math.Abs(v) < 1023.95 {
			return three(v) + " " + unit
		}
	}
	return three(v/1024) + " PiB"
}

// three writes a number with one decimal as long as that is short.
func three(v float64) string {
	if math.Abs(v) < 99.95 {
		return strconv.FormatFloat(v, 'f', 1, 64)
	}
	return strconv.FormatFloat(v, 'f', 0, 64)
}

// Rate writes a number per second: 0, 0.4, 12.5, 1234.
func Rate(v float64) string {
	if v == 0 || math.IsNaN(v) || math.IsInf(v, 0) {
		return "0"
	}
	return three(v)
}

// Duration writes a time that something takes: 340 µs, 3.4 ms, 1.2 s, 2m 5s.
func Duration(d time.Duration) string {
	switch {
	case d <= 0:
		return "0"
	case d < 999500*time.Nanosecond:
		return strconv.FormatFloat(d.Seconds()*1e6, 'f', 0, 64) + " µs"
	case d < 999500*time.Microsecond:
		return three(d.Seconds()*1e3) + " ms"
	case d < 60*time.Second:
		return three(d.Seconds()) + " s"
	}
	return Age(d)
}

// Seconds is Duration for a number of seconds.
func Seconds(s float64) string {
	if math.IsNaN(s) || s <= 0 {
		return "0"
	}
	return Duration(time.Duration(min(s, 1e9) * float64(time.Second)))
}

// Age writes a span of time by its two largest units: 4s, 2m 5s, 2h 5m, 3d 4h.
func Age(d time.Duration) string {
	s := int64(d / time.Second)
	switch {
	case s < 0:
		return "0s"
	case s < 60:
		return fmt.Sprintf("%ds", s)
	case s < 3600:
		return fmt.Sprintf("%dm %ds", s/60, s%60)
	case s < 86400:
		return fmt.Sprintf("%dh %dm", s/3600, s%3600/60)
	case s < 100*86400:
		return fmt.Sprintf("%dd %dh", s/86400, s%86400/3600)
	}
	return fmt.Sprintf("%dd", s/86400)
}

// Number writes a count with its noun: 1 route, 2 routes.
func Number[T int | int64 | uint64](n T, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}
