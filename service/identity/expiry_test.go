package identity_test

import (
	"strings"
	"testing"
	"time"

	"github.com/mtlsproxy/mtlsproxy/service/identity"
	"github.com/mtlsproxy/mtlsproxy/tlsclient"
	"github.com/mtlsproxy/mtlsproxy/tlsclient/tlstest"
)

func TestTheEndOfACertificateIsSpokenOf(t *testing.T) {
	const day = 24 * time.Hour
	for name, c := range map[string]struct {
		life time.Duration
		at   []time.Duration // before the end
	}{
		"a year":      {365 * day, []time.Duration{30 * day, 7 * day, day}},
		"ninety days": {90 * day, []time.Duration{30 * day, 7 * day, day}},
		"a month":     {30 * day, []time.Duration{10 * day, 7 * day, day}},
		"a week":      {7 * day, []time.Duration{7 * day / 3, day}},
		"a day":       {day, []time.Duration{8 * time.Hour}},
		"an hour":     {time.Hour, []time.Duration{20 * time.Minute}},
	} {
		t.Run(name, func(t *testing.T) {
			begin := time.Now().Truncate(time.Second)
			f := newFixture(t, tlstest.LeafOptions{NotBefore: begin, NotAfter: begin.Add(c.life)})
			f.now = begin
			f.try(0)
			f.log.take()
			end := f.Generation().Leaf.NotAfter
			for _, left := range c.at {
				f.try(end.Add(-left).Sub(f.now) - time.Second)
				if told := f.log.take(); told != nil {
					t.Fatalf("told %q more than %v before the end", told, left)
				}
				if at := f.Due(time.Hour); at.After(end.Add(-left)) {
					t.Errorf("due at %v, after the moment at %v", at, end.Add(-left))
				}
				f.try(time.Second)
				if told := f.log.take(); len(told) != 1 || !strings.HasPrefix(told[0], "cert_expiring ") || !strings.Contains(told[0], "left="+left.String()) {
					t.Fatalf("told %q %v before the end", told, left)
				}
			}
			f.try(end.Sub(f.now) + time.Second)
			f.try(time.Minute)
			told := strings.Join(f.log.take(), "\n")
			if strings.Count(told, "cert_expired ") != 1 || strings.Contains(told, "cert_expiring") {
				t.Errorf("told %q at the end", told)
			}
		})
	}
}

// One that begins late in the life of a certificate says it once.
func TestOnlyTheMostUrgentWarningIsGiven(t *testing.T) {
	begin := time.Now().Truncate(time.Second)
	f := newFixture(t, tlstest.LeafOptions{NotBefore: begin.AddDate(0, -11, 0), NotAfter: begin.Add(12 * time.Hour)})
	f.try(0)
	f.log.take()
	f.try(time.Minute)
	if told := f.log.take(); told != nil {
		t.Errorf("told %q again", told)
	}
}

func TestARenewalIsWarnedOfAnew(t *testing.T) {
	begin := time.Now().Truncate(time.Second)
	f := newFixture(t, tlstest.LeafOptions{NotBefore: begin.AddDate(0, -11, 0), NotAfter: begin.Add(12 * time.Hour)})
	f.try(0)
	f.ca.Issue(t, tlstest.LeafOptions{NotBefore: begin.AddDate(0, -11, 0), NotAfter: begin.Add(13 * time.Hour)}).WriteFiles(t, f.files.Dir, f.ca)
	f.log.take()
	f.try(time.Second)
	told := strings.Join(f.log.take(), "\n")
	if strings.Count(told, "cert_loaded ") != 1 || strings.Count(told, "cert_expiring ") != 1 {
		t.Errorf("told %q", told)
	}
}

func TestAClockThatJumpsForthAndBackSilencesNothing(t *testing.T) {
	begin := time.Now().Truncate(time.Second)
	f := newFixture(t, tlstest.LeafOptions{NotBefore: begin, NotAfter: begin.Add(time.Hour)})
	f.now = begin
	f.try(0)
	f.try(2 * time.Hour)
	f.try(-2*time.Hour + time.Minute)
	f.log.take()
	end := f.Generation().Leaf.NotAfter
	if at := f.Due(24 * time.Hour); at.After(end.Add(-20 * time.Minute)) {
		t.Errorf("due at %v, after a third of the hour until %v has begun", at, end)
	}
	f.try(45 * time.Minute)
	if told := f.log.take(); len(told) != 1 || !strings.HasPrefix(told[0], "cert_expiring ") {
		t.Errorf("told %q before the end", told)
	}
	f.try(time.Hour)
	if told := f.log.take(); len(told) != 1 || !strings.HasPrefix(told[0], "cert_expired ") {
		t.Errorf("told %q at the end", told)
	}
}

func TestAClockThatWasAheadLeavesTheWarningsThatAreToCome(t *testing.T) {
	const day = 24 * time.Hour
	begin := time.Now().Truncate(time.Second)
	f := newFixture(t, tlstest.LeafOptions{NotBefore: begin, NotAfter: begin.Add(365 * day)})
	f.now = begin
	f.try(0)
	f.try(364*day + time.Hour)
	f.try(-364 * day)
	f.log.take()
	for _, at := range []time.Duration{335 * day, 23 * day, 6 * day} {
		f.try(at)
		if told := f.log.take(); len(told) != 1 || !strings.HasPrefix(told[0], "cert_expiring ") {
			t.Errorf("told %q at %v", told, f.now)
		}
	}
}

// Servers have clocks of their own.
func TestACertificateOfTomorrowWaitsBesideOneOfToday(t *testing.T) {
	f := newFixture(t, tlstest.LeafOptions{})
	f.now = f.now.Truncate(time.Second)
	f.try(0)
	first, begin := f.Generation(), f.now.Add(3*time.Minute)
	f.ca.Issue(t, tlstest.LeafOptions{NotBefore: begin}).WriteFiles(t, f.files.Dir, f.ca)
	if f.try(time.Second) || f.Generation() != first {
		t.Fatal("it was taken before its time")
	}
	if err := f.State().Err; tlsclient.ReasonOf(err) != tlsclient.ReasonNotYetValid {
		t.Errorf("said of it: %v", err)
	}
	for f.now.Before(begin) {
		if f.try(f.dueIn()) && f.now.Before(begin) {
			t.Fatalf("taken %v too early", begin.Sub(f.now))
		}
	}
	if f.Generation() == first || f.now.Sub(begin) > time.Second {
		t.Errorf("%v after its time it is not in use: %v", f.now.Sub(begin), f.State().Err)
	}
}

func TestACertificateOfSoonIsBetterThanNone(t *testing.T) {
	f := newFixture(t, tlstest.LeafOptions{NotBefore: time.Now().Add(3 * time.Minute)})
	if !f.try(0) {
		t.Errorf("it is not taken: %v", f.State().Err)
	}
}

func TestTheEndOfARevocationListIsSpokenOfOnce(t *testing.T) {
	f := newFixture(t, tlstest.LeafOptions{})
	until := f.now.Add(time.Hour).Truncate(time.Second)
	f.files.WriteCRL(t, f.ca.CRL(t, tlstest.CRLOptions{NextUpdate: until}))
	paths := f.paths()
	paths.CRL = f.files.CRL
	f.Identity = identity.New(paths, "")
	f.try(0)
	f.log.take()
	if at := f.Due(24 * time.Hour); at.After(until.Add(time.Second)) {
		t.Errorf("due at %v, long after its end at %v", at, until)
	}
	f.try(time.Hour + time.Second)
	f.try(time.Minute)
	if told := strings.Join(f.log.take(), "\n"); strings.Count(told, "cert_expired ") != 1 || !strings.Contains(told, f.files.CRL) {
		t.Errorf("told %q", told)
	}
}
