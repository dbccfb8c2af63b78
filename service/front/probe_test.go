package front

import (
	"bufio"
	"context"
	"errors"
	"net"
	"testing"

	"github.com/mtlsproxy/mtlsproxy/tlsclient/tlstest/leak"
)

func TestProbeWakesTheAcceptLoop(t *testing.T) {
	leak.Check(t)
	s, dial := serve(t, answerOK("it"))
	l := listenerOf(s)
	for range 3 {
		if err := l.Probe(t.Context()); err != nil {
			t.Error(err)
		}
	}
	c := dial()
	if who, _, err := request(c, bufio.NewReader(c)); who != "it" || err != nil {
		t.Errorf("got %q, %v after the probes", who, err)
	}
	if l.Accepted() != 1 {
		t.Errorf("%d connections are counted, want 1", l.Accepted())
	}
}

func TestProbeTellsOfALoopThatDoesNotTurn(t *testing.T) {
	nl, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer nl.Close()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := NewListener(nl, "http").Probe(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v of a listener that nobody serves", err)
	}
}

func TestProbeOfAClosedListenerIsNoFault(t *testing.T) {
	nl, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	nl.Close()
	if err := NewListener(nl, "http").Probe(t.Context()); err != nil {
		t.Error(err)
	}
}
