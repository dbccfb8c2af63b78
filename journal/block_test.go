package journal

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"reflect"
	"slices"
	"strings"
	"testing"
	"testing/quick"
	"time"
)

// kept is what the log keeps of r.
func kept(r Record) Record {
	cutTo := func(b []byte, limit int) []byte {
		if len(b) <= limit {
			return append([]byte{}, b...)
		}
		return appendCut([]byte{}, b, limit)
	}
	text := func(s string) string { return string(cutTo([]byte(s), maxText)) }
	r.Time = r.Time.Truncate(time.Microsecond)
	r.ID, r.Path = cutTo(r.ID, maxID), cutTo(r.Path, maxPath)
	r.Method, r.Host = cutTo(r.Method, maxText), cutTo(r.Host, maxText)
	r.Listener, r.Route, r.Upstream, r.Endpoint = text(r.Listener), text(r.Route), text(r.Upstream), text(r.Endpoint)
	r.Class, r.Fault, r.Serial = text(r.Class), text(r.Fault), text(r.Serial)
	for _, d := range []*time.Duration{&r.Queue, &r.Connect, &r.FirstByte, &r.Total} {
		*d = duration(micros(*d))
	}
	return r
}

func same(a, b Record) bool {
	sameTime := a.Time.Equal(b.Time)
	a.Time, b.Time = time.Time{}, time.Time{}
	return sameTime && reflect.DeepEqual(a, b)
}

func newDecoder(t testing.TB) *decoder {
	t.Helper()
	z, err := newUnpacker()
	if err != nil {
		t.Fatal(err)
	}
	return &decoder{zstd: z}
}

func packBlock(t testing.TB, compress bool, records []Record) (block, summary []byte) {
	t.Helper()
	e, err := newEncoder(compress)
	if err != nil {
		t.Fatal(err)
	}
	var raw []byte
	for i := range records {
		raw = appendRaw(raw, &records[i])
	}
	block, summary, err = e.encode(7, raw)
	if err != nil {
		t.Fatal(err)
	}
	return block, summary
}

// arbitrary makes records of any content. testing/quick alone would hardly repeat a value.
func arbitrary(rnd *rand.Rand, n int) []Record {
	letters := []byte("abcdef0123456789/.…\x00\xff")
	text := func(most int) []byte {
		b := make([]byte, rnd.IntN(most+1))
		for i := range b {
			b[i] = letters[rnd.IntN(1+rnd.IntN(len(letters)))]
		}
		return b
	}
	number := func() int64 { return rnd.Int64() >> rnd.IntN(64) * int64(1-2*rnd.IntN(2)) }
	span := func() time.Duration { return max(0, time.Duration(number()/4)) }
	records := make([]Record, n)
	for i := range records {
		records[i] = Record{
			Time: time.UnixMicro(number() / 4), ID: text(rnd.IntN(200)),
			Listener: string(text(3)), Caller: number(), Route: string(text(300)), Upstream: string(text(2)), Endpoint: string(text(20)),
			Method: text(3), Host: text(300), Path: text(1 + rnd.IntN(rnd.IntN(5000)+1)), Status: int(number()),
			Class: string(text(2)), Fault: string(text(1)), BytesIn: number(), BytesOut: number(),
			Queue: span(), Connect: span(), FirstByte: span(), Total: span(),
			Attempts: int(number()), Reused: rnd.IntN(2) == 0, TLS: uint16(number()), Serial: string(text(40)), Generation: uint64(number()),
		}
	}
	return records
}

func TestBlocksReadBackAsTheyWere(t *testing.T) {
	d, b := newDecoder(t), newBuilder()
	check := func(seed uint64, compress bool) bool {
		rnd := rand.New(rand.NewPCG(seed, 0))
		records := arbitrary(rnd, 1+rnd.IntN(60))
		block, _ := packBlock(t, compress, records)
		if err := d.load(block); err != nil {
			t.Error(err)
			return false
		}
		if err := b.load(d); err != nil || d.rows != len(records) {
			t.Errorf("%d records, %v", d.rows, err)
			return false
		}
		for i := range records {
			if got, want := clone(b.row(uint16(i))), kept(records[i]); !same(got, want) {
				t.Errorf("record %d:\n%+v, want\n%+v", i, got, want)
				return false
			}
		}
		return true
	}
	if err := quick.Check(check, &quick.Config{MaxCount: 150}); err != nil {
		t.Error(err)
	}
}

func TestLongTextsAreCutVisibly(t *testing.T) {
	long := []byte(strings.Repeat("/ä", 5000))
	block, _ := packBlock(t, true, []Record{{ID: long, Path: long, Host: long, Route: string(long)}})
	d, b := newDecoder(t), newBuilder()
	if err := errors.Join(d.load(block), b.load(d)); err != nil {
		t.Fatal(err)
	}
	r := b.row(0)
	for _, c := range []struct {
		limit int
		s     string
	}{{maxID, string(r.ID)}, {maxPath, string(r.Path)}, {maxText, string(r.Host)}, {maxText, r.Route}} {
		limit, s := c.limit, c.s
		if len(s) > limit || len(s) < limit-4 || !strings.HasSuffix(s, "…") || !bytes.HasPrefix(long, []byte(strings.TrimSuffix(s, "…"))) {
			t.Errorf("a bound of %d: %d bytes, ending in %q", limit, len(s), s[max(0, len(s)-8):])
		}
	}
}

// wanted says in plain words what a filter wants.
func wanted(f *Filter, r *Record) bool {
	oneOf := func(list []string, s string) bool { return len(list) == 0 || slices.Contains(list, s) }
	class := oneOf(f.Class, r.Class) || slices.Contains(f.Class, AnyClass) && r.Class != ""
	status := len(f.Status) == 0
	for _, s := range f.Status {
		status = status || s.Low <= r.Status && r.Status <= s.High
	}
	return (f.From.IsZero() || !r.Time.Before(f.From)) && (f.To.IsZero() || r.Time.Before(f.To)) &&
		(f.ID == "" || f.ID == string(r.ID)) && class && status &&
		oneOf(f.Listener, r.Listener) && oneOf(f.Route, r.Route) && oneOf(f.Upstream, r.Upstream) && oneOf(f.Endpoint, r.Endpoint) &&
		oneOf(f.Method, string(r.Method)) && oneOf(f.Fault, r.Fault) && (len(f.Caller) == 0 || slices.Contains(f.Caller, r.Caller)) &&
		r.Total >= f.MinTotal && (f.MaxTotal == 0 || r.Total <= f.MaxTotal) &&
		(f.Host == "" || newGlob(f.Host).match(r.Host)) && (f.Path == "" || newGlob(f.Path).match(r.Path))
}

// someFilter wants what from has, more or less.
func someFilter(rnd *rand.Rand, from []Record) Filter {
	var f Filter
	one := func() *Record { return &from[rnd.IntN(len(from))] }
	set := []func(){
		func() { f.From = one().Time }, func() { f.To = one().Time },
		func() { f.ID = string(one().ID) }, func() { f.ID = "there is no such" },
		func() { f.Route = []string{one().Route, one().Route} }, func() { f.Upstream = []string{one().Upstream} },
		func() { f.Listener = []string{one().Listener} }, func() { f.Endpoint = []string{one().Endpoint} },
		func() { f.Method = []string{string(one().Method)} }, func() { f.Caller = []int64{one().Caller, NoCaller} },
		func() { f.Status = []StatusRange{{one().Status, one().Status + 100}} },
		func() { f.Class = []string{AnyClass} }, func() { f.Class = []string{one().Class} }, func() { f.Fault = []string{one().Fault} },
		func() { f.MinTotal = one().Total }, func() { f.MaxTotal = one().Total },
		func() { f.Host = string(one().Host[:len(one().Host)/2]) + "*" },
		func() { f.Path = "*" + string(one().Path[len(one().Path)/2:]) }, func() { f.Path = "/?1/*/items" },
	}
	for range 1 + rnd.IntN(3) {
		set[rnd.IntN(len(set))]()
	}
	return f
}

func TestFiltersWantWhatTheySay(t *testing.T) {
	d, b := newDecoder(t), newBuilder()
	hits := 0
	check := func(seed uint64) bool {
		rnd := rand.New(rand.NewPCG(seed, 0))
		tr := newTraffic(seed)
		records := make([]Record, 1+rnd.IntN(300))
		for i := range records {
			tr.next(&records[i])
			if rnd.IntN(3) == 0 { // as clients send them
				records[i].ID = fmt.Appendf(nil, "%016x-%x", rnd.Uint64(), rnd.Uint64())
			}
			records[i] = kept(records[i])
		}
		f := someFilter(rnd, records)
		block, sum := packBlock(t, true, records)
		var want, got []string
		for i := range records {
			if wanted(&f, &records[i]) {
				want = append(want, string(records[i].ID))
			}
		}
		hits += len(want)
		m := newMatcher(&f)
		var s summary
		if err := readSummary(&s, 7, sum); err != nil {
			t.Fatal(err)
		}
		if !m.may(&s) {
			if len(want) > 0 {
				t.Errorf("seed %d: the summary denies %d records for %+v", seed, len(want), f)
			}
			return len(want) == 0
		}
		if err := d.load(block); err != nil {
			t.Fatal(err)
		}
		rows, err := m.match(t.Context(), d)
		if err == nil {
			err = b.load(d)
		}
		if err != nil {
			t.Fatal(err)
		}
		for _, i := range rows {
			got = append(got, string(b.row(i).ID))
		}
		if !slices.Equal(got, want) {
			t.Errorf("seed %d: %d records, want %d, for %+v", seed, len(got), len(want), f)
			return false
		}
		return true
	}
	if err := quick.Check(check, &quick.Config{MaxCount: 250}); err != nil {
		t.Error(err)
	}
	if hits == 0 {
		t.Error("no filter wanted anything; the test says nothing")
	}
}

func TestSummaryPassesOverOtherIDs(t *testing.T) {
	var own, foreign []Record
	for i := range 4000 {
		own = append(own, Record{ID: fmt.Appendf(nil, "7f3a90c1d2e4%012x", 5000+i)})
		foreign = append(foreign, Record{ID: fmt.Appendf(nil, "%016x", uint64(i+1)*0x9e3779b97f4a7c15)})
	}
	for name, records := range map[string][]Record{"counting": own, "random": foreign} {
		_, b := packBlock(t, true, records)
		var s summary
		if err := readSummary(&s, 7, b); err != nil {
			t.Fatal(err)
		}
		for i := range records {
			if m := newMatcher(&Filter{ID: string(records[i].ID)}); !m.may(&s) {
				t.Fatalf("%s: %s is denied", name, records[i].ID)
			}
		}
		wrong := 0
		for i := range 10_000 {
			if newMatcher(&Filter{ID: fmt.Sprintf("7f3a90c1d2e4%012x", 900_000+i)}).may(&s) {
				wrong++
			}
		}
		if wrong > 300 {
			t.Errorf("%s: %d of 10000 other ids are not passed over", name, wrong)
		}
	}
}

func FuzzBlock(f *testing.F) {
	for i := range uint64(4) {
		block, sum := packBlock(f, i%2 == 0, arbitrary(rand.New(rand.NewPCG(i, 0)), int(1+30*i)))
		f.Add(bytes.Clone(block), false)
		f.Add(bytes.Clone(sum), true)
	}
	d, b := newDecoder(f), newBuilder()
	f.Fuzz(func(t *testing.T, data []byte, isSummary bool) {
		if len(data) < 4 {
			return
		}
		mendChecksum(data) // else nothing gets past it
		if isSummary {
			var s summary
			if err := readSummary(&s, 7, data); err == nil {
				newMatcher(&Filter{ID: "7f3a90c1d2e4000000000001", Path: "/x", Status: []StatusRange{{1, 2}}}).may(&s)
			}
			return
		}
		if d.load(data) != nil {
			return
		}
		m := newMatcher(&Filter{Path: "*", MinTotal: 1, Status: []StatusRange{{0, 999}}})
		if _, err := m.match(t.Context(), d); err == nil && b.load(d) == nil {
			for i := range d.rows {
				b.row(uint16(i))
			}
		}
	})
}

func TestGlob(t *testing.T) {
	for _, c := range []struct {
		pattern, s string
		want       bool
	}{
		{"*", "", true}, {"*", "/a/b", true}, {"/v1/*/items", "/v1/a/b/items", true}, {"/v1/*/items", "/v1/items", false},
		{"/a?c", "/abc", true}, {"/a?c", "/ac", false}, {"*.internal", "x.internal", true}, {"*.internal", "x.internal.", false},
		{"a*b*c", "aXbYbZc", true}, {"a*b*c", "aXbYbZ", false}, {"", "", true}, {"", "a", false},
	} {
		if newGlob(c.pattern).match([]byte(c.s)) != c.want {
			t.Errorf("glob(%q, %q) is %v", c.pattern, c.s, !c.want)
		}
	}
}

func TestAGlobFindsWhatASlowOneFinds(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 1))
	pick := func(from string, n int) string {
		b := make([]byte, rnd.IntN(n))
		for i := range b {
			b[i] = from[rnd.IntN(len(from))]
		}
		return string(b)
	}
	matches := 0
	for range 50_000 {
		pattern, s := pick("ab*?*", 8), pick("ab", 12)
		if rnd.IntN(200) == 0 { // across the words of the masks
			pad := strings.Repeat("ab", 35)
			pattern, s = "*"+pad+pattern+"?"+pad+"*", s+pad+s+"a"+pad+s
		}
		got, want := newGlob(pattern).match([]byte(s)), slowGlob(pattern, s)
		if got != want {
			t.Fatalf("glob(%q, %q) is %v", pattern, s, got)
		}
		if got {
			matches++
		}
	}
	if matches < 2_500 || matches > 47_500 {
		t.Errorf("%d of 50,000 match; the test says little", matches)
	}
}

func slowGlob(pattern, s string) bool {
	switch {
	case pattern == "":
		return s == ""
	case pattern[0] == '*':
		return slowGlob(pattern[1:], s) || s != "" && slowGlob(pattern, s[1:])
	}
	return s != "" && (pattern[0] == '?' || pattern[0] == s[0]) && slowGlob(pattern[1:], s[1:])
}

func TestAHardPatternTakesTimeInProportionToTheText(t *testing.T) {
	text := bytes.Repeat([]byte("a"), maxPath)
	for _, pattern := range []string{
		strings.Repeat("a*", 127) + "b", "*" + strings.Repeat("a", 254) + "b", "*" + strings.Repeat("?a", 126) + "b*",
	} {
		g := newGlob(pattern)
		began := time.Now()
		for range 1000 {
			if g.match(text) {
				t.Fatalf("%s matches", pattern)
			}
		}
		// A pattern looked for at every place of the text takes more than ten times as long.
		if took := time.Since(began); took > time.Second && !raceEnabled {
			t.Errorf("%s: %v for 1000 texts", pattern, took)
		}
	}
}
