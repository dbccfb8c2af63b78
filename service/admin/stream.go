package admin

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"sync"
	"time"

	"github.com/mtlsproxy/mtlsproxy/service/admin/api"
)

const (
	firstBeat = time.Second      // until a stream without values shows that it has begun
	heartbeat = 15 * time.Second // between two empty lines of a stream that is quiet
	chunk     = 16 << 10         // bytes that gather, and that must move within api.Patience
)

// stream answers with the lines that f writes.
func (c *call) stream(f func(context.Context, *lineWriter) error) error {
	if !c.engine.streams.take(c.conn.holder) {
		return &api.Error{
			Class:   api.Busy,
			Message: fmt.Sprintf("there are too many streams: a user may have %d, and all of them %d", streamsEach, maxStreams-keptStreams),
			Hint:    "end some of them, or try again",
		}
	}
	defer c.engine.streams.give(c.conn.holder)
	ctx, cancel := context.WithCancelCause(c.r.Context())
	defer cancel(nil)
	defer context.AfterFunc(c.engine.stop, func() { cancel(context.Cause(c.engine.stop)) })()

	s := &lineWriter{call: c, cancel: cancel, wake: make(chan struct{}, 1), done: make(chan struct{})}
	s.buf = bufio.NewWriterSize(patientWriter{s}, chunk)
	s.enc = json.NewEncoder(s.buf)
	s.enc.SetEscapeHTML(false)
	err := s.run(ctx, f)
	if c.r.Context().Err() != nil || s.broken {
		panic(http.ErrAbortHandler) // the client is gone, or what it got must not look complete
	}
	if context.Cause(ctx) != nil {
		err = context.Cause(ctx)
	}
	return s.finish(err)
}

// lineWriter writes the lines of a stream. They gather until whoever sends them is
// free: a line goes out at once when there are few, and many go out together.
type lineWriter struct {
	call   *call
	cancel context.CancelCauseFunc
	wake   chan struct{} // there is something to send
	done   chan struct{} // there will be no more

	mu     sync.Mutex // guards what follows, and the ResponseWriter
	buf    *bufio.Writer
	enc    *json.Encoder
	broken bool // a write has failed
}

// run lets f write while send sends, and returns f's error when both have ended.
func (s *lineWriter) run(ctx context.Context, f func(context.Context, *lineWriter) error) error {
	var sending sync.WaitGroup
	sending.Go(s.send)
	defer sending.Wait()
	defer close(s.done)
	return f(ctx, s)
}

// value writes one line. With an error that is not v's own, the client is gone.
func (s *lineWriter) value(v any) error {
	s.mu.Lock()
	s.begin()
	err := s.enc.Encode(v)
	s.mu.Unlock()
	select {
	case s.wake <- struct{}{}:
	default: // it is awake
	}
	return err
}

func (s *lineWriter) begin() {
	if !s.call.begun {
		s.call.header("application/x-ndjson")
	}
}

// send sends what has gathered, and an empty line when nothing has for a while.
func (s *lineWriter) send() {
	quiet := time.NewTimer(firstBeat)
	defer quiet.Stop()
	for {
		line := ""
		select {
		case <-s.done:
			return
		case <-s.wake:
		case <-quiet.C:
			line = "\n"
		}
		if refusal := s.call.engine.permit(s.call, s.call.route.needs); refusal != nil {
			s.cancel(refusal) // the permission was taken away meanwhile
			return
		}
		if err := s.flush(line); err != nil {
			s.cancel(err)
			return
		}
		quiet.Reset(heartbeat)
	}
}

// flush sends what has gathered, and line.
func (s *lineWriter) flush(line string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.begin()
	_, err := io.WriteString(s.buf, line)
	if err == nil {
		err = s.buf.Flush()
	}
	if err != nil {
		return err
	}
	s.call.patience(api.Patience)
	if err := s.call.control().Flush(); err != nil {
		s.broken = true
		return err
	}
	return nil
}

// finish ends the stream, with a last line if there is an error. One that comes
// before anything was written is answered as in any other request.
func (s *lineWriter) finish(err error) error {
	if err != nil && !s.call.begun {
		return err
	}
	s.begin()
	if err != nil {
		err = s.enc.Encode(api.ErrorBody{Error: s.call.public(err)})
	}
	if err != nil || s.flush("") != nil {
		panic(http.ErrAbortHandler) // it must not look complete
	}
	return nil
}

// patientWriter gives each write its time, and remembers that one has failed. The time
// is that of a person who has stopped to read.
type patientWriter struct{ s *lineWriter }

// Write implements io.Writer. The lineWriter's mutex is held.
func (w patientWriter) Write(p []byte) (int, error) {
	w.s.call.patience(api.Patience)
	n, err := w.s.call.w.Write(p)
	w.s.broken = w.s.broken || err != nil
	return n, err
}
