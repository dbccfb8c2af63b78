package prom

import (
	"errors"
	"io"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"
	"testing"
	"testing/iotest"
)

func parse(t *testing.T, text string) Sample {
	t.Helper()
	s, err := Parse(strings.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestParse(t *testing.T) {
	s := parse(t, `# HELP requests_total Requests.
# TYPE requests_total counter
requests_total{route="a",code="2xx"} 12
requests_total{ route = "b" , code="5xx", } 3 1700000000000
plain 1.5
	spaced	-2e3

escaped{v="a\\b\"c\nd}, e=\"f\""} 1
infinite +Inf
unknown NaN
huge 1e999
empty{} 7
`)
	for metric, want := range map[string]float64{"plain": 1.5, "spaced": -2000, "infinite": math.Inf(1), "huge": math.Inf(1), "empty": 7} {
		if got := s.Sum(metric); got != want {
			t.Errorf("%s is %v, want %v", metric, got, want)
		}
	}
	if !math.IsNaN(s.Sum("unknown")) {
		t.Error("NaN is not NaN")
	}
	if got := s["escaped"][0].Labels["v"]; got != "a\\b\"c\nd}, e=\"f\"" {
		t.Errorf("got %q", got)
	}
	if got := s.Sum("requests_total", "route", "b", "code", "5xx"); got != 3 {
		t.Errorf("got %v, want 3", got)
	}
	if got := s.Sum("requests_total"); got != 15 {
		t.Errorf("got %v, want 15", got)
	}
	if got := s.Values("requests_total", "route"); !slices.Equal(got, []string{"a", "b"}) {
		t.Errorf("got %q", got)
	}
}

func TestParseRefuses(t *testing.T) {
	f := func(line, want string) {
		t.Helper()
		_, err := Parse(strings.NewReader("good 1\n" + line + "\n"))
		if err == nil || err.Error() != "metrics, line 2: "+want {
			t.Errorf("%q: %v, want %s", line, err, want)
		}
	}
	f(`1bad 1`, errName.Error())
	f(`{a="b"} 1`, errName.Error())
	f(`<html>`, errName.Error())
	f(`name`, errName.Error())
	f(`name x`, errValue.Error())
	f(`name 1 2 3`, errValue.Error())
	f(`name{a="b"}`, errValue.Error())
	f(`name{a="b" 1`, errLabels.Error())
	f(`name{a=b} 1`, errLabels.Error())
	f(`name{a="b} 1`, errLabels.Error())
	f(`name{a="b\`, errLabels.Error())
	f(`name{="b"} 1`, errLabels.Error())
	f(`name{a="b"c="d"} 1`, errLabels.Error())
	f(`name{a`, errLabels.Error())

	if _, err := Parse(strings.NewReader("a 1\n" + strings.Repeat("x", maxLine+1))); err == nil || !strings.HasPrefix(err.Error(), "metrics, after line 1: ") {
		t.Errorf("a line without an end: %v", err)
	}
	if _, err := Parse(iotest.ErrReader(io.ErrUnexpectedEOF)); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("what cannot be read: %v", err)
	}
}

func FuzzParse(f *testing.F) {
	f.Add("a{b=\"c\\n\"} 1\n# comment\nd 2e3 7\n")
	f.Add("a{b=\"c")
	f.Fuzz(func(t *testing.T, text string) {
		s, err := Parse(strings.NewReader(text))
		if err != nil {
			return
		}
		// What was read says the same when it is written and read again.
		again := parse(t, write(s))
		if write(again) != write(s) {
			t.Errorf("%q became %q", write(s), write(again))
		}
	})
}

// write writes a sample as an exposition.
func write(s Sample) string {
	var b strings.Builder
	for _, name := range slices.Sorted(maps.Keys(s)) {
		for _, v := range s[name] {
			b.WriteString(name + "{")
			for _, label := range slices.Sorted(maps.Keys(v.Labels)) {
				b.WriteString(label + `="` + strings.NewReplacer(`\`, `\\`, `"`, `\"`, "\n", `\n`).Replace(v.Labels[label]) + `",`)
			}
			b.WriteString("} " + strconv.FormatFloat(v.Value, 'g', -1, 64) + "\n")
		}
	}
	return b.String()
}

func TestIncrease(t *testing.T) {
	from := parse(t, `c{a="x",b="1"} 10
c{a="x",b="2"} 100
c{a="y",b="1"} 5
`)
	to := parse(t, `c{b="1",a="x"} 13
c{a="x",b="2"} 40
c{a="y",b="1"} 5
c{a="z",b="1"} 7
`)
	f := func(want float64, where ...string) {
		t.Helper()
		if got := Increase(from, to, "c", where...); got != want {
			t.Errorf("%q: %v, want %v", where, got, want)
		}
	}
	f(3 + 40 + 0 + 7) // 40: it started anew
	f(43, "a", "x")   // both of them
	f(3, "a", "x", "b", "1")
	f(0, "a", "y")
	f(7, "a", "z") // it was not there before
	f(0, "a", "none")
}

func TestQuantiles(t *testing.T) {
	from := parse(t, `h_bucket{r="a",le="0.1"} 5
h_bucket{r="a",le="1"} 5
h_bucket{r="a",le="+Inf"} 5
`)
	to := parse(t, `h_bucket{r="a",le="0.1"} 55
h_bucket{r="a",le="1"} 95
h_bucket{r="a",le="+Inf"} 105
h_bucket{r="b",le="0.1"} 0
h_bucket{r="b",le="1"} 100
h_bucket{r="b",le="+Inf"} 100
`)
	f := func(from Sample, q, want float64, where ...string) {
		t.Helper()
		got := Quantiles(from, to, "h", []float64{q}, where...)[0]
		if math.Abs(got-want) > 1e-9 && !(math.IsNaN(got) && math.IsNaN(want)) {
			t.Errorf("%v of %q is %v, want %v", q, where, got, want)
		}
	}
	f(from, 0.25, 0.05, "r", "a") // the middle of the first bucket
	f(from, 0.5, 0.1, "r", "a")   // its end
	f(from, 0.7, 0.55, "r", "a")  // the middle of the second
	f(from, 0.99, 1, "r", "a")    // beyond: the highest finite bound
	f(from, 0.5, 0.55, "r", "b")  // an empty first bucket
	f(from, 0.25, 0.1)            // both together: 50 of 200 in the first bucket
	f(from, 0.5, math.NaN(), "r", "none")
	f(to, 0.5, math.NaN(), "r", "a") // nothing happened

	// A histogram that started anew counts from zero.
	reset := parse(t, `h_bucket{r="a",le="0.1"} 1000
h_bucket{r="a",le="1"} 1000
h_bucket{r="a",le="+Inf"} 1000
`)
	f(reset, 0.5, 0.1*52.5/55, "r", "a")
}

func TestQuantilesOfWhatIsNoHistogram(t *testing.T) {
	for _, text := range []string{"", `h_bucket{le="+Inf"} 5`, `h_bucket{le="x"} 5`, `h_bucket 5`, "h_bucket{le=\"1\"} 5\nh_bucket{le=\"2\"} 6"} {
		if got := Quantiles(nil, parse(t, text), "h", []float64{0.5})[0]; !math.IsNaN(got) {
			t.Errorf("%q gives %v", text, got)
		}
	}
}
