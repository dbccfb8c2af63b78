package journal

import (
	"fmt"
	"slices"
	"time"
)

// A Filter says which records are wanted: those to which all of it applies. Its zero
// value wants every record. Of a list, one entry must apply.
type Filter struct {
	From time.Time // no earlier ones; zero: no bound
	To   time.Time // only earlier ones; zero: no bound

	ID       string
	Listener []string
	Route    []string
	Upstream []string
	Endpoint []string
	Caller   []int64 // uids; NoCaller stands for an unknown caller
	Method   []string
	Status   []StatusRange
	Class    []string // AnyClass stands for every class
	Fault    []string
	MinTotal time.Duration
	MaxTotal time.Duration // 0: no bound
	Host     string        // pattern; see [Filter.Set]
	Path     string        // likewise
}

// AnyClass in a Filter's Class stands for every error class.
const AnyClass = "any"

// A StatusRange is from Low to High, both included.
type StatusRange struct{ Low, High int }

// A matcher is a Filter made ready: only the conditions that it has, the cheap and
// telling ones first.
type matcher struct {
	from, to int64 // microseconds; to is excluded
	min, max int64 // of the total
	head     []byte
	tail     int64
	byID     bool
	numbers  []numberCondition
	texts    []textCondition
	rows     []uint16 // which are still in question
	verdicts []bool   // for the values of a dictionary
}

type numberCondition struct {
	column int
	want   func(int64) bool
}

type textCondition struct {
	text int
	want func([]byte) bool
}

const (
	earliest = -1 << 63
	latest   = 1<<63 - 1
)

func newMatcher(f *Filter) *matcher {
	m := &matcher{from: earliest, to: latest, min: micros(f.MinTotal), max: latest}
	if !f.From.IsZero() {
		// A record's time is cut to microseconds, so that of the bounds is rounded up.
		m.from = f.From.Add(time.Microsecond - 1).UnixMicro()
	}
	if !f.To.IsZero() {
		m.to = f.To.Add(time.Microsecond - 1).UnixMicro()
	}
	if f.MaxTotal > 0 {
		m.max = micros(f.MaxTotal)
	}
	if f.ID != "" {
		m.byID = true
		m.head, m.tail = splitID(nil, []byte(f.ID))
	}
	if len(f.Caller) > 0 {
		m.numbers = append(m.numbers, numberCondition{nCaller, func(v int64) bool { return slices.Contains(f.Caller, v) }})
	}
	if len(f.Status) > 0 {
		m.numbers = append(m.numbers, numberCondition{nStatus, func(v int64) bool {
			return slices.ContainsFunc(f.Status, func(r StatusRange) bool { return int64(r.Low) <= v && v <= int64(r.High) })
		}})
	}
	m.oneOf(tClass, f.Class)
	m.oneOf(tFault, f.Fault)
	m.oneOf(tListener, f.Listener)
	m.oneOf(tRoute, f.Route)
	m.oneOf(tUpstream, f.Upstream)
	m.oneOf(tEndpoint, f.Endpoint)
	m.oneOf(tMethod, f.Method)
	if f.Host != "" {
		m.texts = append(m.texts, textCondition{tHost, newGlob(f.Host).match})
	}
	if f.Path != "" {
		m.texts = append(m.texts, textCondition{tPath, newGlob(f.Path).match})
	}
	return m
}

func (m *matcher) oneOf(text int, wanted []string) {
	if len(wanted) == 0 {
		return
	}
	anyClass := text == tClass && slices.Contains(wanted, AnyClass)
	m.texts = append(m.texts, textCondition{text, func(v []byte) bool {
		if anyClass && len(v) > 0 {
			return true
		}
		return slices.ContainsFunc(wanted, func(w string) bool { return w == string(v) })
	}})
}

// may reports whether the block with this summary may hold a wanted record.
func (m *matcher) may(s *summary) bool {
	if s.maxTime < m.from || s.minTime >= m.to || s.maxTotal < m.min || s.minTotal > m.max {
		return false
	}
	if m.byID && !s.ids.may(m.head, m.tail) {
		return false
	}
	for _, c := range m.numbers {
		set := &s.callers
		if c.column == nStatus {
			set = &s.statuses
		}
		if set.known && !slices.ContainsFunc(set.values, c.want) {
			return false
		}
	}
	for _, c := range m.texts {
		if set := &s.texts[c.text]; set.known && !slices.ContainsFunc(set.values, c.want) {
			return false
		}
	}
	return true
}

// check refuses what [Filter.Set] would.
func (f *Filter) check() error {
	for name, pattern := range map[string]string{"host": f.Host, "path": f.Path} {
		if err := checkPattern(pattern); err != nil {
			return fmt.Errorf("filter %s: %w", name, err)
		}
	}
	return nil
}
