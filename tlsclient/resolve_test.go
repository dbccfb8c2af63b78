package tlsclient

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"slices"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// script resolves to its answers in turn; the last one stays.
type script struct {
	answers [][]string
	calls   int
}

func (s *script) LookupNetIP(context.Context, string, string) ([]netip.Addr, error) {
	a := s.answers[min(s.calls, len(s.answers)-1)]
	s.calls++
	if a == nil {
		return nil, errors.New("the resolver fails")
	}
	var out []netip.Addr
	for _, ip := range a {
		out = append(out, netip.MustParseAddr(ip))
	}
	return out, nil
}

// every is an interval that does not change.
func every(d time.Duration) func() time.Duration { return func() time.Duration { return d } }

func TestAddressesFollowTheResolver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &script{answers: [][]string{{"10.0.0.2", "10.0.0.1"}, {"10.0.0.1", "::ffff:10.0.0.2"}, nil, {}, {"10.0.0.3"}}}
		a := newAddresses("billing.internal", s)
		ctx, cancel := context.WithCancel(t.Context())
		var moved atomic.Int32
		go a.follow(ctx, every(15*time.Second), func() { moved.Add(1) })
		want := func(after time.Duration, moves int32, ips ...string) {
			t.Helper()
			<-time.After(after)
			synctest.Wait()
			got, err := a.get(ctx)
			var names []string
			for _, ip := range got {
				names = append(names, ip.String())
			}
			if err != nil || !slices.Equal(names, ips) || moved.Load() != moves {
				t.Errorf("look-up %d: %v, %v, moved %d times; want %v, %d times", s.calls, names, err, moved.Load(), ips, moves)
			}
		}
		want(0, 0, "10.0.0.1", "10.0.0.2")
		want(15*time.Second, 0, "10.0.0.1", "10.0.0.2") // the same, in another order
		want(15*time.Second, 0, "10.0.0.1", "10.0.0.2") // the resolver fails
		want(15*time.Second, 0, "10.0.0.1", "10.0.0.2") // it knows of nothing
		want(15*time.Second, 1, "10.0.0.3")
		cancel()
		synctest.Wait()
	})
}

func TestHostWithoutAnyAddressIsLookedUpSoonAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newAddresses("billing.internal", &script{answers: [][]string{nil, {}, {"10.0.0.1"}}})
		go a.follow(t.Context(), every(time.Hour), func() {})
		<-time.After(5 * time.Second)
		if ips, err := a.get(t.Context()); err != nil || len(ips) != 1 {
			t.Errorf("got %v, %v after 5 s", ips, err)
		}
	})
}

func TestAddressesWaitForTheFirstLookUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newAddresses("billing.internal", &script{answers: [][]string{{"10.0.0.1"}}})
		ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
		defer cancel()
		if _, err := a.get(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("got %v without a look-up, want a timeout", err)
		}
		go a.follow(t.Context(), every(time.Minute), func() {})
		if ips, err := a.get(t.Context()); err != nil || len(ips) != 1 {
			t.Errorf("got %v, %v", ips, err)
		}
	})
}

func TestFailedFirstLookUpSaysWhy(t *testing.T) {
	a := newAddresses("billing.internal", &script{answers: [][]string{nil}})
	a.refresh(t.Context())
	if _, err := a.get(t.Context()); err == nil || err.Error() != "the resolver fails" {
		t.Errorf("got %v, want the resolver's error", err)
	}
}

func TestAddressLiteralIsNotLookedUp(t *testing.T) {
	a := newAddresses("::1", nil)
	ips, err := a.get(t.Context())
	if err != nil || len(ips) != 1 || !a.literal() {
		t.Errorf("got %v, %v", ips, err)
	}
}

func TestUnusableAddressIsPassedOver(t *testing.T) {
	tried := 0
	u := &Upstream{}
	u.options.Store(&Options{Dial: func(ctx context.Context, a netip.AddrPort) (net.Conn, error) {
		tried++
		return nil, errors.New("refused")
	}})
	e := &endpoint{Address: Address{Port: 1}, addresses: newAddresses("x", &script{answers: [][]string{{"10.0.0.1", "10.0.0.2"}}})}
	e.addresses.refresh(t.Context())
	l := &link{pool: &pool{upstream: u}, endpoint: e}
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	if _, _, err := l.dialEach(ctx); err == nil || tried != 2 {
		t.Errorf("%v after %d of 2 addresses", err, tried)
	}
}
