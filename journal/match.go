package journal

import (
	"bytes"
	"context"
	"time"
)

// match returns the numbers of the block's records that are wanted, in their order. They
// are good until the next call.
func (m *matcher) match(ctx context.Context, d *decoder) ([]uint16, error) {
	m.rows = m.rows[:0]
	for i := range d.rows {
		m.rows = append(m.rows, uint16(i))
	}
	if m.from != earliest || m.to != latest {
		if err := m.number(d, nTime, func(v int64) bool { return v >= m.from && v < m.to }); err != nil {
			return nil, err
		}
	}
	for _, c := range m.numbers {
		if err := m.number(d, c.column, c.want); err != nil {
			return nil, err
		}
	}
	if err := m.id(ctx, d); err != nil {
		return nil, err
	}
	for _, c := range m.texts {
		if err := m.text(ctx, d, c); err != nil {
			return nil, err
		}
	}
	return m.rows, m.total(d)
}

func (m *matcher) number(d *decoder, column int, want func(int64) bool) error {
	if len(m.rows) == 0 {
		return nil
	}
	values, err := d.number(column)
	if err != nil {
		return err
	}
	kept := m.rows[:0]
	last, verdict := int64(0), want(0)
	for _, r := range m.rows {
		if v := values[r]; v != last {
			last, verdict = v, want(v)
		}
		if verdict {
			kept = append(kept, r)
		}
	}
	m.rows = kept
	return nil
}

func (m *matcher) total(d *decoder) error {
	if len(m.rows) == 0 || m.min == 0 && m.max == latest {
		return nil
	}
	first, err := d.number(nFirstByte)
	if err != nil {
		return err
	}
	rest, err := d.number(nRest)
	if err != nil {
		return err
	}
	kept := m.rows[:0]
	for _, r := range m.rows {
		if t := first[r] + rest[r]; t >= m.min && t <= m.max {
			kept = append(kept, r)
		}
	}
	m.rows = kept
	return nil
}

func (m *matcher) id(ctx context.Context, d *decoder) error {
	if len(m.rows) == 0 || !m.byID {
		return nil
	}
	err := m.text(ctx, d, textCondition{tID, func(v []byte) bool { return bytes.Equal(v, m.head) }})
	if err != nil {
		return err
	}
	return m.number(d, columnTail, func(v int64) bool { return v == m.tail })
}

func (m *matcher) text(ctx context.Context, d *decoder, c textCondition) error {
	if len(m.rows) == 0 {
		return nil
	}
	values, codes, err := d.text(c.text)
	if err != nil {
		return err
	}
	m.verdicts = m.verdicts[:0]
	for i, v := range values {
		if i%64 == 0 && ctx.Err() != nil {
			return ctx.Err()
		}
		m.verdicts = append(m.verdicts, c.want(v))
	}
	kept := m.rows[:0]
	for _, r := range m.rows {
		if m.verdicts[codes[r]] {
			kept = append(kept, r)
		}
	}
	m.rows = kept
	return nil
}

// A builder makes records from the rows of blocks.
type builder struct {
	record  Record
	numbers [numberCount][]int64
	values  [textCount][][]byte
	codes   [textCount][]uint16
	tails   []int64
	id      []byte
	names   map[string]string // the few names that come again and again
}

func newBuilder() *builder { return &builder{names: make(map[string]string)} }

// load reads every column of the block.
func (b *builder) load(d *decoder) (err error) {
	for i := range b.numbers {
		if b.numbers[i], err = d.number(i); err != nil {
			return err
		}
	}
	for i := range b.values {
		if b.values[i], b.codes[i], err = d.text(i); err != nil {
			return err
		}
	}
	b.tails, err = d.number(columnTail)
	return err
}

// row returns a record, which is good until the next call.
func (b *builder) row(i uint16) *Record {
	n := func(column int) int64 { return b.numbers[column][i] }
	t := func(text int) []byte { return b.values[text][b.codes[text][i]] }
	b.id = joinID(b.id[:0], t(tID), b.tails[i])
	b.record = Record{
		Time:       time.UnixMicro(n(nTime)),
		ID:         b.id,
		Listener:   b.name(t(tListener)),
		Caller:     n(nCaller),
		Route:      b.name(t(tRoute)),
		Upstream:   b.name(t(tUpstream)),
		Endpoint:   b.name(t(tEndpoint)),
		Method:     t(tMethod),
		Host:       t(tHost),
		Path:       t(tPath),
		Status:     int(n(nStatus)),
		Class:      b.name(t(tClass)),
		Fault:      b.name(t(tFault)),
		BytesIn:    n(nBytesIn),
		BytesOut:   n(nBytesOut),
		Queue:      duration(n(nQueue)),
		Connect:    duration(n(nConnect)),
		FirstByte:  duration(n(nFirstByte)),
		Total:      duration(n(nFirstByte) + n(nRest)),
		Attempts:   int(n(nAttempts)),
		Reused:     n(nReused) != 0,
		TLS:        uint16(n(nTLS)),
		Serial:     b.name(t(tSerial)),
		Generation: uint64(n(nGeneration)),
	}
	return &b.record
}

func (b *builder) name(v []byte) string {
	if s, ok := b.names[string(v)]; ok {
		return s
	}
	const most = 4096
	if len(b.names) >= most {
		clear(b.names)
	}
	s := string(v)
	b.names[s] = s
	return s
}
