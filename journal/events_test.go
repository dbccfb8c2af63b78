package journal

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"reflect"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

func TestEventsPassEverythingOn(t *testing.T) {
	var out bytes.Buffer
	var level slog.LevelVar
	e := NewEvents(slog.NewTextHandler(&out, &slog.HandlerOptions{Level: &level}), 0)
	log := slog.New(e).With("unit", "mtlsproxy").WithGroup("tls").With("version", "1.3")
	log.Debug("not printed")
	log.Info("rotated", "identity", "default", slog.Group("leaf", "serial", 7))
	level.Set(slog.LevelDebug)
	log.Debug("printed")
	if got := out.String(); !strings.Contains(got, "unit=mtlsproxy tls.version=1.3 tls.identity=default tls.leaf.serial=7") || strings.Contains(got, "not printed") {
		t.Errorf("passed on: %s", got)
	}
	kept := e.Recent(0)
	if len(kept) != 2 || kept[0].Message != "rotated" || kept[1].Message != "printed" {
		t.Fatalf("kept: %+v", kept)
	}
	want := []Attr{{"unit", "mtlsproxy"}, {"tls.version", "1.3"}, {"tls.identity", "default"}, {"tls.leaf.serial", "7"}}
	if !reflect.DeepEqual(kept[0].Attrs, want) {
		t.Errorf("attributes: %v, want %v", kept[0].Attrs, want)
	}
}

func TestEventsOfSiblingsKeepTheirOwnAttributes(t *testing.T) {
	e := NewEvents(slog.NewTextHandler(&bytes.Buffer{}, nil), 8)
	base := slog.New(e).With("a", 1).With("b", 2).With("c", 3)
	one, two := base.With("d", "one"), base.With("d", "two")
	one.Info("x")
	two.Info("y")
	kept := e.Recent(2)
	if kept[0].Attrs[3].Value != "one" || kept[1].Attrs[3].Value != "two" {
		t.Errorf("kept: %+v", kept)
	}
}

func TestEventsKeepTheLast(t *testing.T) {
	e := NewEvents(slog.NewTextHandler(&bytes.Buffer{}, nil), 3)
	log := slog.New(e)
	for i := range 10 {
		log.Info("event", "i", i)
	}
	for n, want := range map[int]string{0: "8 9 10", 2: "9 10", 50: "8 9 10"} {
		var got []string
		for _, event := range e.Recent(n) {
			got = append(got, fmt.Sprint(event.Seq))
		}
		if strings.Join(got, " ") != want {
			t.Errorf("Recent(%d): %v, want %s", n, got, want)
		}
	}
	log.Warn("careful")
	log.Error("broken")
	if got := e.Counts(); got != (EventCounts{Info: 10, Warn: 1, Error: 1}) {
		t.Errorf("counts: %+v", got)
	}
}

func TestEventsAreBounded(t *testing.T) {
	e := NewEvents(slog.NewTextHandler(&bytes.Buffer{}, nil), 3)
	r := slog.NewRecord(start, slog.LevelInfo, strings.Repeat("ü", 5000), 0)
	r.Add("k", strings.Repeat("v", 1<<20))
	if err := e.Handle(t.Context(), r); err != nil {
		t.Fatal(err)
	}
	got := e.Recent(1)[0]
	for _, s := range []string{got.Message, got.Attrs[0].Value} {
		if len(s) > maxAttrBytes || !strings.HasSuffix(s, "…") || strings.ContainsRune(s, '\uFFFD') {
			t.Errorf("%d bytes, ending in %q", len(s), s[len(s)-8:])
		}
	}
}

func TestAFollowerOfEventsIsToldWhatItMissed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := NewEvents(slog.NewTextHandler(&bytes.Buffer{}, nil), 4)
		log := slog.New(e)
		log.Info("before")
		enough := errors.New("enough")
		var got []string
		done := make(chan error)
		go func() {
			done <- e.Follow(context.Background(), 0, func(event Event, lost uint64) error {
				got = append(got, fmt.Sprintf("%d/%d", event.Seq, lost))
				time.Sleep(time.Second) // of the bubble: it only has to be slow
				if event.Seq == 11 {
					return enough
				}
				return nil
			})
		}()
		synctest.Wait() // it sleeps over the first
		for range 10 {
			log.Info("more")
		}
		if err := <-done; !errors.Is(err, enough) {
			t.Errorf("got %v", err)
		}
		if want := "1/0 8/6 9/0 10/0 11/0"; strings.Join(got, " ") != want {
			t.Errorf("got %v, want %s", got, want)
		}
	})
}

func TestAFollowerOfEventsEndsWithItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := NewEvents(slog.NewTextHandler(&bytes.Buffer{}, nil), 4)
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error)
		go func() { done <- e.Follow(ctx, 99, func(Event, uint64) error { return nil }) }()
		synctest.Wait()
		cancel()
		if err := <-done; !errors.Is(err, context.Canceled) {
			t.Errorf("got %v", err)
		}
	})
}
