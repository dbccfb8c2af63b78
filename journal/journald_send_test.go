package journal

import (
	"errors"
	"log/slog"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// A scriptedSender answers sends as it is told, and keeps what it was given.
type scriptedSender struct {
	answer func(data []byte) error
	halt   chan struct{}

	mu   sync.Mutex
	sent [][]byte
}

func (s *scriptedSender) send(data []byte) error {
	err := s.answer(data)
	if err == nil {
		s.mu.Lock()
		s.sent = append(s.sent, data)
		s.mu.Unlock()
	}
	if errors.Is(err, errBusy) {
		select {
		case <-time.After(sendPatience):
		case <-s.halt:
		}
	}
	return err
}

func (s *scriptedSender) interrupt() { close(s.halt) }
func (s *scriptedSender) close()     {}

// taken returns what was sent, once nothing moves any more.
func (s *scriptedSender) taken() [][]byte {
	synctest.Wait()
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.sent)
}

// scripted runs test in a bubble with its own clock.
func scripted(t *testing.T, answer func(data []byte) error, test func(t *testing.T, j *Journald, s *scriptedSender)) {
	synctest.Test(t, func(t *testing.T) {
		s := &scriptedSender{answer: answer, halt: make(chan struct{})}
		j := newJournald(s)
		test(t, j, s)
		j.Close()
	})
}

func TestJournaldSaysOnceAMinuteHowManyWereDropped(t *testing.T) {
	refused := errors.New("refused")
	answer := func(data []byte) error {
		if strings.Contains(string(data), "MESSAGE=bad\n") {
			return refused
		}
		return nil
	}
	scripted(t, answer, func(t *testing.T, j *Journald, s *scriptedSender) {
		log := slog.New(j.Handler(nil))
		reports := func() (out []string) {
			for _, data := range s.taken() {
				if f := parseEntry(t, data); value(f, "MESSAGE_ID") == idEventsDropped {
					out = append(out, value(f, "MTLS_DROPPED")+"/"+value(f, "MTLS_DROPPED_TOTAL"))
				}
			}
			return out
		}
		expect := func(when, want string) {
			t.Helper()
			if got := strings.Join(reports(), " "); got != want {
				t.Errorf("%s: reports %q, want %q", when, got, want)
			}
		}
		time.Sleep(time.Hour)
		expect("nothing was dropped", "")
		log.Info("bad")
		expect("the first", "1/1")
		for range 5 {
			log.Info("bad")
			time.Sleep(time.Second)
		}
		expect("within the minute", "1/1")
		time.Sleep(time.Minute)
		expect("after it, with nothing logged", "1/1 5/6")
		time.Sleep(time.Hour)
		expect("nothing more was dropped", "1/1 5/6")
	})
}

func TestJournaldSaysWhenALateEventHappened(t *testing.T) {
	var busy atomic.Bool
	busy.Store(true)
	scripted(t, func([]byte) error {
		if busy.Load() {
			return errBusy
		}
		return nil
	}, func(t *testing.T, j *Journald, s *scriptedSender) {
		log := slog.New(j.Handler(nil))
		at := time.Now()
		log.Info("being sent")
		synctest.Wait()
		log.Info("waits")
		time.Sleep(10*time.Second + time.Millisecond)
		busy.Store(false)
		time.Sleep(time.Second)
		log.Info("not late")
		sent := s.taken()
		if len(sent) != 3 {
			t.Fatalf("%d sent", len(sent))
		}
		if got := value(parseEntry(t, sent[1]), "MTLS_TIME"); got != at.UTC().Format(time.RFC3339Nano) {
			t.Errorf("the late event happened at %q, want %v", got, at.UTC())
		}
		if got := value(parseEntry(t, sent[2]), "MTLS_TIME"); got != "" {
			t.Errorf("an event in time tells its time: %s", got)
		}
	})
}

func fullQueue(p priority) *journaldQueue {
	q := new(journaldQueue)
	q.init()
	for i := range maxWaiting {
		q.add(p, start, []byte(strconv.Itoa(i)))
	}
	return q
}

func TestJournaldQueueDropsTheLeastSevereFirst(t *testing.T) {
	q := fullQueue(priorityDebug)
	for range maxWaiting / 2 {
		q.add(priorityErr, start, []byte("error"))
	}
	q.add(priorityInfo, start, []byte("info"))
	if q.dropped != maxWaiting/2+1 {
		t.Errorf("%d dropped", q.dropped)
	}
	first, _ := q.take()
	if want := strconv.Itoa(maxWaiting/2 + 1); string(first.data) != want {
		t.Errorf("the oldest is %q, want %q: older ones were to be dropped", first.data, want)
	}
	for range maxWaiting {
		q.add(priorityErr, start, []byte("error"))
	}
	if q.entries != maxWaiting || len(q.byPrio[priorityErr]) != maxWaiting {
		t.Errorf("%d wait, %d errors", q.entries, len(q.byPrio[priorityErr]))
	}
	dropped := q.dropped
	q.add(priorityDebug, start, []byte("debug"))
	if q.dropped != dropped+1 || len(q.byPrio[priorityDebug]) != 0 {
		t.Error("an event has displaced more severe ones")
	}
}

func TestJournaldQueueIsBoundedInBytes(t *testing.T) {
	q := new(journaldQueue)
	q.init()
	for range 100 {
		q.add(priorityInfo, start, make([]byte, maxEntryBytes))
	}
	if q.bytes > maxWaitingBytes || q.entries != maxWaitingBytes/maxEntryBytes || q.dropped != uint64(100-q.entries) {
		t.Errorf("%d entries with %d bytes wait, %d dropped", q.entries, q.bytes, q.dropped)
	}
	for {
		if _, ok := q.take(); !ok {
			break
		}
	}
	if q.bytes != 0 || q.entries != 0 {
		t.Errorf("%d entries with %d bytes wait after all were taken", q.entries, q.bytes)
	}
}
