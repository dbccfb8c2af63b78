package service_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// A hostileSection is a case as it stands in a file.
type hostileSection struct {
	name, source, comment string
	client, upstream      [][]byte // writes
	values                map[string][]string
}

// loadHostile reads the files of a directory and turns their sections into cases.
func loadHostile[T any](tb testing.TB, dir string, build func(*hostileSection) (T, error)) []T {
	tb.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "*.txt"))
	if err != nil || len(files) == 0 {
		tb.Fatalf("no corpus in %q (%v)", dir, err)
	}
	var cases []T
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			tb.Fatal(err)
		}
		sections, err := parseSections(file, string(text))
		if err != nil {
			tb.Fatal(err)
		}
		for _, s := range sections {
			built, err := build(s)
			if err != nil {
				tb.Fatalf("%s: %s: %v", s.source, s.name, err)
			}
			cases = append(cases, built)
		}
	}
	return cases
}

func parseSections(file, text string) ([]*hostileSection, error) {
	var sections []*hostileSection
	var s *hostileSection
	for i, line := range strings.Split(text, "\n") {
		source := fmt.Sprintf("%s:%d", file, i+1)
		if name, ok := strings.CutPrefix(line, "=== "); ok {
			s = &hostileSection{name: name, source: source, values: map[string][]string{}}
			sections = append(sections, s)
			continue
		}
		if s == nil {
			if line != "" && !strings.HasPrefix(line, "#") {
				return nil, fmt.Errorf("%s: %q before the first case", source, line)
			}
			continue
		}
		if err := s.line(line); err != nil {
			return nil, fmt.Errorf("%s: %w", source, err)
		}
	}
	return sections, nil
}

// line takes in one line of the section. The side that sends first also owns the pauses, until the other one starts.
func (s *hostileSection) line(line string) error {
	switch {
	case line == "":
	case strings.HasPrefix(line, "#"):
		s.comment = strings.TrimSpace(s.comment + " " + strings.TrimSpace(line[1:]))
	case strings.HasPrefix(line, "> "):
		return addBytes(&s.client, line[2:])
	case strings.HasPrefix(line, "< "):
		return addBytes(&s.upstream, line[2:])
	case line == "...":
		current := &s.client
		if s.upstream != nil {
			current = &s.upstream
		}
		if *current == nil {
			return errors.New("a pause before the first byte")
		}
		*current = append(*current, nil)
	default:
		key, value, ok := strings.Cut(line, ":")
		if !ok || key == "" || strings.Contains(key, " ") {
			return fmt.Errorf("cannot read %q", line)
		}
		s.values[key] = append(s.values[key], strings.TrimPrefix(value, " "))
	}
	return nil
}

func addBytes(writes *[][]byte, text string) error {
	decoded, err := unescape(text)
	if err != nil {
		return err
	}
	if *writes == nil {
		*writes = [][]byte{nil}
	}
	last := len(*writes) - 1
	(*writes)[last] = append((*writes)[last], decoded...)
	return nil
}

// unescape decodes a line of bytes.
func unescape(text string) (string, error) {
	if strings.HasSuffix(text, " ") {
		return "", fmt.Errorf(`a blank at the end of a line is written \x20: %q`, text)
	}
	decoded, rest, err := decode(text, false)
	if err == nil && rest != "" {
		err = fmt.Errorf("%q left over", rest)
	}
	return decoded, err
}

const repeatMacro = "{repeat:"

// decode reads to the end of the text or, within a macro, to the brace that closes it.
func decode(text string, inMacro bool) (decoded, rest string, err error) {
	var out strings.Builder
	for text != "" {
		c := text[0]
		switch {
		case c < ' ' || c > '~':
			return "", "", fmt.Errorf("byte %#x must be escaped", c)
		case c == '}' && inMacro:
			return out.String(), text[1:], nil
		case c == '\\':
			b, size, err := escape(text)
			if err != nil {
				return "", "", err
			}
			out.WriteByte(b)
			text = text[size:]
		case strings.HasPrefix(text, repeatMacro):
			number, inner, _ := strings.Cut(text[len(repeatMacro):], ":")
			n, err := strconv.Atoi(number)
			if err != nil {
				return "", "", fmt.Errorf("count of a macro: %w", err)
			}
			piece, after, err := decode(inner, true)
			if err != nil {
				return "", "", err
			}
			out.WriteString(strings.Repeat(piece, n))
			text = after
		default:
			out.WriteByte(c)
			text = text[1:]
		}
	}
	if inMacro {
		return "", "", errors.New("a macro is not closed")
	}
	return out.String(), "", nil
}

// escape decodes the escape that text begins with.
func escape(text string) (b byte, size int, err error) {
	if len(text) >= 4 && text[1] == 'x' {
		v, err := strconv.ParseUint(text[2:4], 16, 8)
		return byte(v), 4, err
	}
	if len(text) >= 2 {
		if i := strings.IndexByte(`rnt0\}`, text[1]); i >= 0 {
			return "\r\n\t\x00\\}"[i], 2, nil
		}
	}
	return 0, 0, fmt.Errorf("unknown escape in %.10q", text)
}

// take removes a key that may be repeated. What is left in the end is unknown.
func (s *hostileSection) take(key string) []string {
	values := s.values[key]
	delete(s.values, key)
	return values
}

// takeOne removes a key that stands at most once and checks it against what is allowed, if that is limited.
func (s *hostileSection) takeOne(key, fallback string, allowed ...string) (string, error) {
	values := s.take(key)
	if len(values) == 0 {
		return fallback, nil
	}
	if len(values) > 1 {
		return "", fmt.Errorf("%s stands %d times", key, len(values))
	}
	if len(allowed) > 0 && !slices.Contains(allowed, values[0]) {
		return "", fmt.Errorf("%s: %q is none of %q", key, values[0], allowed)
	}
	return values[0], nil
}

// takeBytes removes a key that may be repeated and whose values are escaped.
func (s *hostileSection) takeBytes(key string) (decoded []string, err error) {
	for _, value := range s.take(key) {
		text, err := unescape(value)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", key, err)
		}
		decoded = append(decoded, text)
	}
	return decoded, nil
}

// takeJudge removes the two keys that judge what one side received.
func (s *hostileSection) takeJudge(side string) (h hostileBytes, err error) {
	h.Has, err = s.takeBytes(side + "-has")
	if err == nil {
		h.Lacks, err = s.takeBytes(side + "-lacks")
	}
	return h, err
}

// finish complains about keys that nobody took.
func (s *hostileSection) finish() error {
	for key := range s.values {
		return fmt.Errorf("unknown key %q", key)
	}
	return nil
}

// parseStatuses reads words such as 200, 400|501, 100? and 200*50.
func parseStatuses(words []string) (statuses []hostileStatus, err error) {
	for _, word := range words {
		count := 1
		word, number, repeated := strings.Cut(word, "*")
		if repeated {
			if count, err = strconv.Atoi(number); err != nil {
				return nil, err
			}
		}
		codes, optional := strings.CutSuffix(word, "?")
		status := hostileStatus{Optional: optional}
		for code := range strings.SplitSeq(codes, "|") {
			n, err := strconv.Atoi(code)
			if err != nil || n < 100 || n > 599 {
				return nil, fmt.Errorf("%q is no status", code)
			}
			status.AnyOf = append(status.AnyOf, n)
		}
		for range count {
			statuses = append(statuses, status)
		}
	}
	return statuses, nil
}
