package service

import (
	"math"
	"testing"

	"github.com/mtlsproxy/mtlsproxy/service/config"
	"github.com/mtlsproxy/mtlsproxy/service/front"
)

// bounded is a configuration with so much limits.memory, and upstreams with pool.max and pool.idle.
func bounded(memory int64, pools ...[2]int) *config.Config {
	c := &config.Config{Limits: config.Limits{Memory: memory}}
	for _, p := range pools {
		c.Upstreams = append(c.Upstreams, config.Upstream{Pool: config.Pool{Max: p[0], Idle: p[1]}})
	}
	return c
}

func TestDescriptorsAreKeptForUpstreamsAndTheOperator(t *testing.T) {
	const kept = operatorDescriptors + otherDescriptors + front.MaxExcess
	f := func(free uint64, want int, pools ...[2]int) {
		t.Helper()
		if got := room(kept+free, bounded(0, pools...)); got != want {
			t.Errorf("%d descriptors more and pools of %v leave room for %d connections, want %d", free, pools, got, want)
		}
	}
	f(10_000, 10_000)
	f(10_000, 9744, [2]int{256, 64})                  // its whole pool
	f(200, 100, [2]int{256, 64})                      // one for each connection
	f(10_000, 9488, [2]int{256, 64}, [2]int{256, 64}) // both
	f(400, 168, [2]int{256, 64}, [2]int{256, 64})     // one for each, and what the other upstream keeps idle
	f(0, fewestConnections, [2]int{256, 64})
}

func TestConnectionsFitIntoTheMemory(t *testing.T) {
	const mib = 1 << 20
	f := func(limit, memory int64, want int) {
		t.Helper()
		if got := affordable(limit, bounded(memory)); got != want {
			t.Errorf("GOMEMLIMIT %d with limits.memory %d is for %d connections, want %d", limit, memory, got, want)
		}
	}
	f(345*mib, 256*mib, 9113)
	f(345*mib, 0, 35328)
	f(400*mib, 1024*mib, 10240) // a quarter at least
	f(mib, 0, 102)
	f(1, 0, fewestConnections)
	if got := affordable(math.MaxInt64, bounded(256*mib)); got < 1<<40 { // it is not set
		t.Errorf("without GOMEMLIMIT there is memory for %d connections", got)
	}
}
