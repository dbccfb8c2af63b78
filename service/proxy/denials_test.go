package proxy

import (
	"testing"
	"time"
)

func TestDenialIsToldOnceAMinuteWithACountOfWhatWasLeftOut(t *testing.T) {
	t.Parallel()
	var d denials
	now := time.Now()
	f := func(what denial, wantLeftOut int, wantTold bool) {
		t.Helper()
		if leftOut, ok := d.take(what, now); ok != wantTold || leftOut != wantLeftOut {
			t.Errorf("%+v: told %v, left out %d; want %v, %d", what, ok, leftOut, wantTold, wantLeftOut)
		}
	}
	one, other := denial{1, "r", "http"}, denial{2, "r", "http"}
	f(one, 0, true)
	f(one, 0, false)
	f(one, 0, false)
	f(other, 0, true) // who keeps asking hides nobody
	now = now.Add(denialTime)
	f(one, 2, true)
	now = now.Add(denialTime)
	f(one, 0, true)
}

func TestDenialsTakeBoundedMemory(t *testing.T) {
	t.Parallel()
	var d denials
	now, told := time.Now(), 0
	for uid := range int64(10 * denialTable) {
		if _, ok := d.take(denial{uid: uid}, now); ok {
			told++
		}
	}
	if told != denialTable+1 || len(d.told) != denialTable {
		t.Errorf("%d told and %d kept, want %d and %d", told, len(d.told), denialTable+1, denialTable)
	}
	// Nothing is lost of the count: it goes with what is told next.
	now = now.Add(denialTime)
	if leftOut, ok := d.take(denial{uid: -5}, now); !ok || leftOut != 0 {
		t.Errorf("a new one after a minute: told %v, left out %d", ok, leftOut)
	}
	if want := 9*denialTable - 1; d.rest.leftOut != want {
		t.Errorf("%d left out, want %d", d.rest.leftOut, want)
	}
}
