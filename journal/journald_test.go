package journal

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"reflect"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/mtlsproxy/mtlsproxy/tlsclient/tlstest/leak"
)

// A fakeJournald is a socket that takes entries as journald does, when it is told to.
type fakeJournald struct {
	t    *testing.T
	path string
	conn *net.UnixConn
}

func newFakeJournald(t *testing.T) *fakeJournald {
	t.Helper()
	leak.Check(t)
	f := &fakeJournald{t: t, path: filepath.Join(t.TempDir(), "socket")}
	f.listen()
	t.Cleanup(func() { f.conn.Close() })
	return f
}

func (f *fakeJournald) listen() {
	f.t.Helper()
	c, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: f.path, Net: "unixgram"})
	if err != nil {
		f.t.Fatal(err)
	}
	f.conn = c
}

// open begins to send to it. The test ends with Close.
func (f *fakeJournald) open() *Journald {
	f.t.Helper()
	j, err := OpenJournald(f.path)
	if err != nil {
		f.t.Fatal(err)
	}
	f.t.Cleanup(func() { j.Close() })
	return j
}

// field is one of an entry, in the order in which it came.
type field struct{ name, value string }

// next takes the next entry. inFile tells that it came in a sealed file.
func (f *fakeJournald) next() (fields []field, inFile bool) {
	f.t.Helper()
	if err := f.conn.SetReadDeadline(time.Now().Add(10 * time.Second)); err != nil {
		f.t.Fatal(err)
	}
	data, control := make([]byte, 1<<20), make([]byte, 64)
	n, oobn, _, _, err := f.conn.ReadMsgUnix(data, control)
	if err != nil {
		f.t.Fatalf("no entry comes: %v", err)
	}
	if oobn == 0 {
		return parseEntry(f.t, data[:n]), false
	}
	return parseEntry(f.t, f.readSealed(n, control[:oobn])), true
}

func (f *fakeJournald) readSealed(n int, control []byte) []byte {
	f.t.Helper()
	messages, err := unix.ParseSocketControlMessage(control)
	if err != nil {
		f.t.Fatal(err)
	}
	fds, err := unix.ParseUnixRights(&messages[0])
	if err != nil || len(fds) != 1 || n != 0 {
		f.t.Fatalf("want one descriptor and no data: %v, %d bytes, %v", fds, n, err)
	}
	file := os.NewFile(uintptr(fds[0]), "entry")
	defer file.Close()
	seals, err := unix.FcntlInt(uintptr(fds[0]), unix.F_GET_SEALS, 0)
	// systemd 252 compares for equality.
	if want := unix.F_SEAL_SEAL | unix.F_SEAL_SHRINK | unix.F_SEAL_GROW | unix.F_SEAL_WRITE; err != nil || seals != want {
		f.t.Errorf("seals: %#x, %v; want %#x", seals, err, want)
	}
	data, err := io.ReadAll(io.NewSectionReader(file, 0, 64<<20))
	if err != nil {
		f.t.Fatal(err)
	}
	return data
}

func parseEntry(t *testing.T, data []byte) []field {
	t.Helper()
	var out []field
	for len(data) > 0 {
		end := bytes.IndexAny(data, "=\n")
		if end < 0 {
			t.Fatalf("no field: %q", data)
		}
		name, rest := string(data[:end]), data[end+1:]
		size := bytes.IndexByte(rest, '\n')
		if data[end] == '\n' {
			size = int(binary.LittleEndian.Uint64(rest))
			rest = rest[8:]
		}
		if size < 0 || size >= len(rest) || rest[size] != '\n' {
			t.Fatalf("field %s does not end: %.100q", name, rest)
		}
		out = append(out, field{name, string(rest[:size])})
		data = rest[size+1:]
	}
	return out
}

func value(fields []field, name string) string {
	for _, f := range fields {
		if f.name == name {
			return f.value
		}
	}
	return ""
}

func TestJournaldGetsTheFieldsOfAnEvent(t *testing.T) {
	f := newFakeJournald(t)
	log := slog.New(f.open().Handler(nil)).With("identity", "default").WithGroup("leaf").With("serial", 7)
	odd := []any{"Größe", time.Second, "", "unnamed"}
	log.Warn("rotated", append([]any{"not_after", start, slog.Group("key", "kind", "ec")}, odd...)...)
	got, inFile := f.next()
	want := []field{
		{"MESSAGE", "rotated: identity=default leaf.serial=7 leaf.not_after=2026-05-04T13:00:00Z leaf.key.kind=ec leaf.Größe=1s leaf.=unnamed"},
		{"PRIORITY", "4"},
		{"SYSLOG_IDENTIFIER", "mtlsproxy"},
		{"MTLS_IDENTITY", "default"},
		{"MTLS_LEAF_SERIAL", "7"},
		{"MTLS_LEAF_NOT_AFTER", "2026-05-04T13:00:00Z"},
		{"MTLS_LEAF_KEY_KIND", "ec"},
		{"MTLS_LEAF_GR____E", "1s"},
		{"MTLS_LEAF_", "unnamed"},
	}
	if !reflect.DeepEqual(got, want) || inFile {
		t.Errorf("got  %v (in a file: %v)\nwant %v", got, inFile, want)
	}
}

func TestJournaldFieldNamesAreValid(t *testing.T) {
	for key, want := range map[string]string{
		"error":                  "MTLS_ERROR",
		"!BADKEY":                "MTLS__BADKEY",
		"a=b\nc":                 "MTLS_A_B_C",
		"_x9":                    "MTLS__X9",
		strings.Repeat("k", 100): "MTLS_" + strings.Repeat("K", 59), // journald refuses more than 64
	} {
		if got := fieldName(key); got != want {
			t.Errorf("%q: %q, want %q", key, got, want)
		}
	}
}

func TestJournaldGetsTheMessageID(t *testing.T) {
	f := newFakeJournald(t)
	log := slog.New(f.open().Handler(nil))
	log.Info("reloaded", EventAttr, Reloaded, "by", "signal")
	log.With(EventAttr, Reloading).Info("first the logger's, then the call's", EventAttr, ReloadFailed)
	log.Info("nobody knows it", EventAttr, "coffee_ready")
	log.WithGroup("tls").Info("part of a group", EventAttr, Reloaded)
	log.Info("the value alone", "by", Reloaded)
	for i, want := range []string{idReloaded, idReloadFailed, "", "", ""} {
		got, _ := f.next()
		if id := value(got, "MESSAGE_ID"); id != want {
			t.Errorf("%d: MESSAGE_ID %q, want %q in %v", i, id, want, got)
		}
		if i == 0 && value(got, "MTLS_EVENT") != Reloaded {
			t.Errorf("the event is not a field: %v", got)
		}
	}
}

func TestJournaldTakesAnyBytes(t *testing.T) {
	f := newFakeJournald(t)
	log := slog.New(f.open().Handler(nil))
	const multi, binary, forged = "two\nlines\n", "\x00\xff=\n\x01", "x\nPRIORITY=0"
	log.Info(multi, "v", binary, "w", forged, "empty", "", "end", "=")
	got, _ := f.next()
	want := []field{
		{"MESSAGE", multi},
		{"PRIORITY", "6"},
		{"SYSLOG_IDENTIFIER", "mtlsproxy"},
		{"MTLS_V", binary},
		{"MTLS_W", forged},
		{"MTLS_EMPTY", ""},
		{"MTLS_END", "="},
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got  %q\nwant %q", got, want)
	}
}

func TestJournaldPriorities(t *testing.T) {
	for level, want := range map[slog.Level]priority{
		slog.LevelDebug - 4: 7, slog.LevelDebug: 7, slog.LevelInfo: 6, slog.LevelInfo + 2: 5,
		slog.LevelWarn: 4, slog.LevelWarn + 1: 4, slog.LevelError: 3, slog.LevelError + 4: 2,
	} {
		if got := priorityOf(level); got != want {
			t.Errorf("%v: %d, want %d", level, got, want)
		}
	}
}

func TestJournaldObeysTheLevelOfTheMoment(t *testing.T) {
	f := newFakeJournald(t)
	level := new(slog.LevelVar)
	log := slog.New(f.open().Handler(level))
	log.Debug("no")
	level.Set(slog.LevelDebug)
	log.Debug("yes")
	if got, _ := f.next(); value(got, "MESSAGE") != "yes" || value(got, "PRIORITY") != "7" {
		t.Errorf("got %v", got)
	}
}

func TestJournaldTakesLargeEventsInASealedFile(t *testing.T) {
	f := newFakeJournald(t)
	log := slog.New(f.open().Handler(nil))
	stack := strings.Repeat("goroutine 1 [running]:\n", 10_000) // 230 kB
	log.Error("panicked", "stack", stack, "more", stack, "after", "it")
	log.Info("small again")
	got, inFile := f.next()
	if !inFile || value(got, "MTLS_STACK") != stack || value(got, "MTLS_MORE") != stack || value(got, "MTLS_AFTER") != "it" {
		t.Errorf("in a file: %v; stack of %d bytes, want %d", inFile, len(value(got, "MTLS_STACK")), len(stack))
	}
	if got, inFile := f.next(); inFile || value(got, "MESSAGE") != "small again" {
		t.Errorf("then: %v, in a file: %v", got, inFile)
	}
}

func TestJournaldEntriesAreBounded(t *testing.T) {
	f := newFakeJournald(t)
	log := slog.New(f.open().Handler(nil))
	var attrs []any
	for i := range 100 {
		attrs = append(attrs, fmt.Sprint("k", i), strings.Repeat("v", 300_000))
	}
	log.Info("large", attrs...)
	got, _ := f.next()
	total := 0
	for _, field := range got {
		total += len(field.value)
	}
	if first := value(got, "MTLS_K0"); len(first) > maxFieldBytes || !strings.HasSuffix(first, "v…") {
		t.Errorf("a value has %d bytes", len(first))
	}
	if total > maxEntryBytes+200*len("…") || len(got) != 3+maxAttrs {
		t.Errorf("%d bytes in %d fields", total, len(got))
	}
}

func TestJournaldKeepsTheOrder(t *testing.T) {
	f := newFakeJournald(t)
	log := slog.New(f.open().Handler(slog.LevelDebug))
	levels := []slog.Level{slog.LevelDebug, slog.LevelError, slog.LevelInfo, slog.LevelWarn}
	for i := range 1000 {
		log.Log(t.Context(), levels[i%len(levels)], "event", "n", i)
	}
	for i := range 1000 {
		if got, _ := f.next(); value(got, "MTLS_N") != strconv.Itoa(i) {
			t.Fatalf("event %d is %v", i, got)
		}
	}
}

func TestJournaldStoppedHoldsUpNobody(t *testing.T) {
	f := newFakeJournald(t)
	j := f.open()
	log := slog.New(j.Handler(slog.LevelDebug))
	const flood = 20_000
	begun := time.Now()
	log.Error("first", "n", 0)
	for i := range flood {
		log.Debug("debugging", "n", i)
		if i == flood/2 {
			log.Error("in the middle")
		}
	}
	log.Error("last")
	if took := time.Since(begun); took > 5*time.Second { // some microseconds for each
		t.Errorf("logging took %v while nobody read", took)
	}
	if j.Dropped() == 0 {
		t.Error("nothing was dropped")
	}
	var errs []string
	read, said := 0, 0
	for uint64(read)+j.Dropped() < flood+3 {
		got, _ := f.next()
		switch {
		case value(got, "MESSAGE_ID") == idEventsDropped:
			n, err := strconv.Atoi(value(got, "MTLS_DROPPED"))
			if err != nil || value(got, "PRIORITY") != "4" {
				t.Fatalf("the entry about drops: %v", got)
			}
			said += n
		case value(got, "PRIORITY") == "3":
			message, _, _ := strings.Cut(value(got, "MESSAGE"), ": ")
			errs = append(errs, message)
			fallthrough
		default:
			read++
		}
	}
	if want := []string{"first", "in the middle", "last"}; !reflect.DeepEqual(errs, want) {
		t.Errorf("errors: %v, want %v", errs, want)
	}
	if said == 0 || uint64(said) > j.Dropped() || uint64(read)+j.Dropped() != flood+3 {
		t.Errorf("read %d, said to be dropped %d, counted %d; logged %d", read, said, j.Dropped(), flood+3)
	}
}

func TestJournaldFlushWaitsForWhatWasLogged(t *testing.T) {
	f := newFakeJournald(t)
	j := f.open()
	log := slog.New(j.Handler(nil))
	if err := j.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	for range 2000 { // more than fit into a socket
		log.Info("event")
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := j.Flush(ctx); !errors.Is(err, context.Canceled) {
		t.Fatalf("while nobody reads: %v", err)
	}
	flushed := make(chan error)
	go func() { flushed <- j.Flush(t.Context()) }()
	for range 2000 {
		f.next()
	}
	if err := <-flushed; err != nil {
		t.Error(err)
	}
}

func TestJournaldCloseIsBounded(t *testing.T) {
	f := newFakeJournald(t)
	j := f.open()
	log := slog.New(j.Handler(nil))
	const logged = 3000
	for range logged {
		log.Info("event")
	}
	begun := time.Now()
	j.Close()
	if took := time.Since(begun); took > closeTime+2*time.Second {
		t.Errorf("Close took %v", took)
	}
	log.Info("too late")
	read := uint64(0)
	for f.waiting() {
		f.next()
		read++
	}
	if read+j.Dropped() != logged+1 || read == 0 {
		t.Errorf("%d read, %d dropped; logged %d", read, j.Dropped(), logged+1)
	}
	j.Close() // again
}

// waiting reports whether an entry waits to be read.
func (f *fakeJournald) waiting() bool {
	f.t.Helper()
	raw, err := f.conn.SyscallConn()
	if err != nil {
		f.t.Fatal(err)
	}
	var peeked error
	if err := raw.Control(func(fd uintptr) {
		_, _, peeked = unix.Recvfrom(int(fd), make([]byte, 1), unix.MSG_PEEK|unix.MSG_DONTWAIT)
	}); err != nil {
		f.t.Fatal(err)
	}
	return peeked == nil
}

func TestJournaldComesBack(t *testing.T) {
	f := newFakeJournald(t)
	log := slog.New(f.open().Handler(nil))
	log.Info("before")
	f.next()
	f.conn.Close()
	log.Info("between")
	os.Remove(f.path)
	f.listen()
	log.Info("after")
	for _, want := range []string{"between", "after"} {
		if got, _ := f.next(); value(got, "MESSAGE") != want {
			t.Errorf("got %v, want %s", got, want)
		}
	}
}

func TestJournaldEndsWhileItIsGone(t *testing.T) {
	f := newFakeJournald(t)
	j := f.open()
	f.conn.Close()
	slog.New(j.Handler(nil)).Info("nobody will know")
	j.Close()
	if j.Dropped() != 1 {
		t.Errorf("%d dropped, want 1", j.Dropped())
	}
}

func TestNoJournald(t *testing.T) {
	if _, err := OpenJournald(filepath.Join(t.TempDir(), "socket")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("error: %v", err)
	}
	var j *Journald
	if err := errors.Join(j.Flush(t.Context()), j.Close()); err != nil || j.Dropped() != 0 {
		t.Errorf("%v, %d dropped", err, j.Dropped())
	}
}
