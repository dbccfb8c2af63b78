package text

import (
	"encoding/json"
	"math"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"charm.land/lipgloss/v2"
)

func TestSafe(t *testing.T) {
	for in, want := range map[string]string{
		"":                     "",
		"/v1/Grüße/世界":         "/v1/Grüße/世界",
		"\x1b[31mred\x1b[0m":   `\x1b[31mred\x1b[0m`,
		"a\nb\tc\rd\x00":       `a\x0ab\x09c\x0dd\x00`,
		"\x7f\u0080\u009b":     `\x7f\u0080\u009b`,
		"\u202eabc\u2066":      `\u202eabc\u2066`,
		"\u200b\ufeff":         `\u200b\ufeff`,
		"\U000e0001":           `\U000e0001`,
		"bad \xff\xc3 utf-8":   `bad \xff\xc3 utf-8`,
		"the real one: \ufffd": "the real one: \ufffd",
	} {
		if got := Safe(in); got != want {
			t.Errorf("%q became %q, want %q", in, got, want)
		}
	}
}

func FuzzSafe(f *testing.F) {
	f.Add("\x1b[31m\u009b\xff")
	f.Fuzz(func(t *testing.T, s string) {
		got := Safe(s)
		for _, r := range got {
			if r < ' ' || r >= 0x7f && r < 0xa0 {
				t.Errorf("%q became %q", s, got)
			}
		}
		if !utf8.ValidString(got) || Safe(got) != got {
			t.Errorf("%q became %q", s, got)
		}
	})
}

func FuzzJSON(f *testing.F) {
	f.Add("\x1b[31m\u009b\u202e\U000e0001 😀")
	f.Fuzz(func(t *testing.T, s string) {
		data, err := json.MarshalIndent(map[string]string{"v": s}, "", "\t")
		if err != nil {
			t.Fatal(err)
		}
		got := JSON(data)
		for _, r := range string(got) {
			if r < ' ' && r != '\n' && r != '\t' || r >= 0x7f && r < 0xa0 {
				t.Errorf("%q became %q", data, got)
			}
		}
		var before, after any
		if err := json.Unmarshal(data, &before); err != nil {
			t.Fatal(err)
		}
		if err := json.Unmarshal(got, &after); err != nil || !reflect.DeepEqual(before, after) {
			t.Errorf("%q became %q: %v", data, got, err)
		}
	})
}

func TestFilterKeepsLinesAndTabs(t *testing.T) {
	var b strings.Builder
	n, err := Filter{To: &b}.Write([]byte("a\tb\r\n\x1b[2J\n\nlast"))
	if n != 15 || err != nil || b.String() != "a\tb\n"+`\x1b[2J`+"\n\nlast" {
		t.Errorf("%d, %v: %q", n, err, b.String())
	}
}

func TestUnits(t *testing.T) {
	f := func(got, want string) {
		t.Helper()
		if got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
	f(Bytes(int64(0)), "0 B")
	f(Bytes(int64(1023)), "1023 B")
	f(Bytes(int64(1024)), "1.0 KiB")
	f(Bytes(int64(1258291)), "1.2 MiB")
	f(Bytes(int64(1048575)), "1.0 MiB")
	f(Bytes(uint64(9876543210)), "9.2 GiB")
	f(Bytes(uint64(150<<20)), "150 MiB")
	f(Bytes(uint64(math.MaxUint64)), "16384 PiB")
	f(Bytes(12.6), "13 B")

	f(Duration(0), "0")
	f(Duration(340*time.Microsecond), "340 µs")
	f(Duration(999600*time.Nanosecond), "1.0 ms")
	f(Duration(3400*time.Microsecond), "3.4 ms")
	f(Duration(250*time.Millisecond), "250 ms")
	f(Duration(999600*time.Microsecond), "1.0 s")
	f(Duration(1234*time.Millisecond), "1.2 s")
	f(Duration(125*time.Second), "2m 5s")
	f(Seconds(math.NaN()), "0")
	f(Seconds(-1), "0")
	f(Seconds(1e300), "11574d")

	f(Age(-time.Hour), "0s")
	f(Age(59*time.Second), "59s")
	f(Age(2*time.Hour+5*time.Minute+59*time.Second), "2h 5m")
	f(Age(76*time.Hour), "3d 4h")
	f(Age(400*24*time.Hour), "400d")

	f(Rate(0), "0")
	f(Rate(0.42), "0.4")
	f(Rate(1234.5), "1234")
	f(Rate(math.Inf(1)), "0")
	f(Number(1, "route"), "1 route")
	f(Number(0, "route"), "0 routes")
}

func TestCut(t *testing.T) {
	f := func(in string, width int, want string) {
		t.Helper()
		got := Cut(in, width)
		if got != want || width > 0 && lipgloss.Width(got) > width {
			t.Errorf("%q at %d: %q, want %q", in, width, got, want)
		}
	}
	f("abcdef", 0, "abcdef")
	f("abcdef", 6, "abcdef")
	f("abcdef", 5, "abcd…")
	f("abcdef", 1, "…")
	f("世界世界", 5, "世界…")
	f("世界世界", 6, "世界…") // half a character is none
}

func example() *Table {
	t := &Table{Columns: []Column{{Title: "NAME", Cut: 6}, {Title: "COUNT", Right: true, Drop: 2}, {Title: "NEVER", Maybe: true}, {Title: "SIZE", Right: true, Drop: 1}, {Title: "WHY", Cut: 8}}}
	t.Row(C("billing-service"), C("12"), Cell{}, C("1.2 MiB"), C("because of a very long reason"))
	t.Row(C("a"), C("1234567"), Cell{}, C("5 B"), C("none\x1b"))
	return t
}

func TestTable(t *testing.T) {
	f := func(width int, want string) {
		t.Helper()
		got := example().String(Page{Width: width})
		if got != strings.TrimPrefix(want, "\n") {
			t.Errorf("at %d:\n%swant:%s", width, got, want)
		}
	}
	f(0, `
NAME               COUNT     SIZE  WHY
billing-service       12  1.2 MiB  because of a very long reason
a                1234567      5 B  none\x1b
`)
	f(50, `
NAME               COUNT     SIZE  WHY
billing-service       12  1.2 MiB  because of a v…
a                1234567      5 B  none\x1b
`)
	f(30, `
NAME          SIZE  WHY
billing-…  1.2 MiB  because o…
a              5 B  none\x1b
`)
	f(20, `
NAME       WHY
billing-…  because …
a          none\x1b
`)
	f(8, `
NAME
billi…
a
`)
}

func TestNoLineIsWiderThanThePage(t *testing.T) {
	for width := 1; width < 100; width++ {
		for line := range strings.Lines(example().String(Page{Width: width, Color: true})) {
			if w := lipgloss.Width(strings.TrimSuffix(line, "\n")); w > width {
				t.Errorf("at %d a line is %d wide: %q", width, w, line)
			}
		}
	}
}

func TestWhatIsWorthLeastGoesFirst(t *testing.T) {
	for width, want := range map[int]string{0: "NAME COUNT SIZE WHY", 40: "NAME COUNT SIZE WHY", 30: "NAME SIZE WHY", 20: "NAME WHY"} {
		if got := example().Fit(Page{Width: width}).Titled(); !slices.Equal(got, strings.Fields(want)) {
			t.Errorf("at %d: %q, want %s", width, got, want)
		}
	}
}

func TestATableThatGrows(t *testing.T) {
	table := &Table{Columns: []Column{{Title: "TIME", Least: 8}, {Title: "PATH"}}}
	l := table.Fit(Page{})
	if got := l.Titles() + "|" + l.Line([]Cell{C("10:00"), C("/a")}) + "|" + l.Line([]Cell{C("longer than that"), C("/b")}); got != "TIME      PATH|10:00     /a|longer than that  /b" {
		t.Errorf("got %q", got)
	}
}

func TestTonesAreOnlyForPagesWithColour(t *testing.T) {
	for tone := Plain; tone <= Strong; tone++ {
		if got := (Page{}).Paint(tone, "x"); got != "x" {
			t.Errorf("%d: %q", tone, got)
		}
		if got := (Page{Color: true}).Paint(tone, "x"); (got == "x") != (tone == Plain) || lipgloss.Width(got) != 1 {
			t.Errorf("%d: %q", tone, got)
		}
	}
}
