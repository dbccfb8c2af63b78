package tlsclient

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"sync"
	"time"
)

// Resolver looks up the addresses of a host. *net.Resolver is one.
type Resolver interface {
	LookupNetIP(ctx context.Context, network, host string) ([]netip.Addr, error)
}

// addresses keeps what a host name last resolved to. When the resolver fails,
// the last answer stays: a name server's bad minute is not an outage.
type addresses struct {
	host     string
	resolver Resolver

	mu    sync.Mutex
	last  []netip.Addr
	err   error         // of the last look-up
	first chan struct{} // closed after the first look-up
	once  sync.Once
}

func newAddresses(host string, r Resolver) *addresses {
	a := &addresses{host: host, resolver: r, first: make(chan struct{})}
	if ip, err := netip.ParseAddr(host); err == nil {
		a.last = []netip.Addr{ip}
		a.once.Do(func() { close(a.first) })
	}
	return a
}

// literal reports whether there is nothing to look up.
func (a *addresses) literal() bool { return a.resolver == nil || isLiteral(a.host) }

func isLiteral(host string) bool {
	_, err := netip.ParseAddr(host)
	return err == nil
}

// refresh looks the host up once and reports whether the answer is a new one.
func (a *addresses) refresh(ctx context.Context) (changed bool) {
	defer a.once.Do(func() { close(a.first) })
	found, err := a.resolver.LookupNetIP(ctx, "ip", a.host)
	for i := range found {
		found[i] = found[i].Unmap()
	}
	slices.SortFunc(found, netip.Addr.Compare)
	found = slices.Compact(found)
	a.mu.Lock()
	defer a.mu.Unlock()
	a.err = err
	if err != nil || len(found) == 0 || slices.Equal(found, a.last) {
		return false
	}
	changed = len(a.last) > 0
	a.last = found
	return changed
}

// get returns the addresses, waiting for the first look-up until ctx ends.
func (a *addresses) get(ctx context.Context) ([]netip.Addr, error) {
	select {
	case <-a.first:
	case <-ctx.Done():
		return nil, fmt.Errorf("looking up %q: %w", a.host, ctx.Err())
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if len(a.last) == 0 {
		if a.err != nil {
			return nil, a.err
		}
		return nil, fmt.Errorf("looking up %q: no addresses", a.host)
	}
	return a.last, nil
}

// has reports whether ip is among the present addresses.
func (a *addresses) has(ip netip.Addr) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return slices.Contains(a.last, ip)
}

// present returns the addresses known now, and why there are none.
func (a *addresses) present() ([]netip.Addr, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.last, a.err
}

func (a *addresses) known() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return len(a.last) > 0
}

// firstInterval is how soon a host is looked up again that has no address yet.
const firstInterval = 2 * time.Second

// lookupTime bounds one look-up.
const lookupTime = 5 * time.Second

// follow looks the host up now and then every interval, and calls moved after
// the answer has changed.
func (a *addresses) follow(ctx context.Context, interval func() time.Duration, moved func()) {
	for {
		look, cancel := context.WithTimeout(ctx, min(interval(), lookupTime))
		if a.refresh(look) {
			moved()
		}
		cancel()
		pause := interval()
		if !a.known() {
			pause = min(pause, firstInterval)
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(pause):
		}
	}
}
