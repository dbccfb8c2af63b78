package front

import (
	"bufio"
	"testing"

	"github.com/mtlsproxy/mtlsproxy/tlsclient/tlstest/leak"
)

func TestAPausedServerTakesNoConnectionAndLosesNone(t *testing.T) {
	leak.Check(t)
	s, dial := serve(t, answerOK("it"))
	l := listenerOf(s)
	first := dial()
	if _, _, err := request(first, bufio.NewReader(first)); err != nil {
		t.Fatal(err)
	}
	if err := s.Pause(t.Context()); err != nil {
		t.Fatal(err)
	}
	waiting := dial()
	answered := make(chan error, 1)
	go func() {
		_, _, err := request(waiting, bufio.NewReader(waiting))
		answered <- err
	}()
	if n := l.Accepted(); n != 1 {
		t.Errorf("%d connections were accepted, want 1", n)
	}
	s.Resume()
	if err := <-answered; err != nil {
		t.Errorf("the client that waited got %v", err)
	}
	if err := l.Probe(t.Context()); err != nil {
		t.Error(err)
	}
	if n := l.Accepted(); n != 2 {
		t.Errorf("%d connections were accepted, want 2", n)
	}
}

func TestAPausedServerEnds(t *testing.T) {
	leak.Check(t)
	s, _ := serve(t, answerOK("it"))
	listenerOf(s)
	if err := s.Pause(t.Context()); err != nil {
		t.Fatal(err)
	}
	s.Drain()
	if err := s.Wait(t.Context()); err != nil {
		t.Error(err)
	}
}
