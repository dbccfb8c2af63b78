package api

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"syscall"
	"time"
)

// maxLine bounds a line of a stream: a record's path may have 4 KiB, and each of
// its bytes six in JSON.
const maxLine = 64 << 10

// stream reads one JSON value per line and passes it to each. It ends without an
// error at the end of the stream.
func stream[T any](ctx context.Context, c *Client, path string, each func(T) error, lost func(uint64)) error {
	var paused time.Duration
	each = timed(each, &paused)
	resp, err := c.do(ctx, http.MethodGet, path, nil)
	if err != nil {
		return err
	}
	defer func() { _ = resp.Body.Close() }() // it was only read
	lines := bufio.NewScanner(resp.Body)
	lines.Buffer(nil, maxLine)
	lines.Split(wholeLines)
	for lines.Scan() {
		if len(lines.Bytes()) == 0 {
			continue
		}
		if err := readLine(lines.Bytes(), each, lost); err != nil {
			return err
		}
	}
	switch err := lines.Err(); {
	case (errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, syscall.ECONNRESET)) && paused >= Patience:
		return fmt.Errorf("%w: for %v, and the daemon waits %v", ErrPaused, paused.Round(time.Second), Patience)
	case errors.Is(err, io.ErrUnexpectedEOF):
		return fmt.Errorf("the daemon ended the stream before it was complete; it may have stopped: %w", io.ErrUnexpectedEOF)
	case err != nil:
		return fmt.Errorf("reading the stream: %w", err)
	}
	return nil
}

// Patience is how long the daemon waits for the reader of a stream that takes nothing.
// What the kernel buffers counts as taken.
const Patience = 10 * time.Minute

// aPause is how long a reader takes for a value that has stopped reading.
const aPause = time.Second

// timed adds to paused how long each has paused. The daemon cannot say itself that it
// has given up on a reader, since it could not write that either.
func timed[T any](each func(T) error, paused *time.Duration) func(T) error {
	return func(v T) error {
		begin := time.Now()
		err := each(v)
		if d := time.Since(begin); d >= aPause {
			*paused += d
		}
		return err
	}
}

// wholeLines is bufio.ScanLines, but for a last line without an end: it was cut.
func wholeLines(data []byte, atEOF bool) (advance int, line []byte, err error) {
	if i := bytes.IndexByte(data, '\n'); i >= 0 {
		return i + 1, data[:i], nil
	}
	if atEOF && len(data) > 0 {
		return 0, nil, io.ErrUnexpectedEOF
	}
	return 0, nil, nil
}

// readLine reads one line: a value, a count of lost ones, or the error that ends
// the stream.
func readLine[T any](line []byte, each func(T) error, lost func(uint64)) error {
	done, err := readSpecial(line, lost)
	if done || err != nil {
		return err
	}
	var v T
	if err := json.Unmarshal(line, &v); err != nil {
		return fmt.Errorf("reading a line of the stream: %w", err)
	}
	return each(v)
}

// readSpecial reports whether a line is no value. It is read twice only if it may be
// one of the two: most lines are values, and there may be millions.
func readSpecial(line []byte, lost func(uint64)) (bool, error) {
	if !bytes.Contains(line, []byte(`"error"`)) && !bytes.Contains(line, []byte(`"lost"`)) {
		return false, nil
	}
	var special struct {
		Error *Error  `json:"error"`
		Lost  *uint64 `json:"lost"`
	}
	err := json.Unmarshal(line, &special)
	switch {
	case err != nil:
		return false, fmt.Errorf("reading a line of the stream: %w", err)
	case special.Error != nil:
		return true, special.Error
	case special.Lost != nil && lost != nil:
		lost(*special.Lost)
	}
	return special.Lost != nil, nil
}
