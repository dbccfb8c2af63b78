package service

import (
	"testing"

	"github.com/mtlsproxy/mtlsproxy/service/front"
)

func TestTooFewFilesSaysHowManyAreWanted(t *testing.T) {
	const kept = operatorDescriptors + otherDescriptors + front.MaxExcess
	f := func(files uint64, connections int, want string) {
		t.Helper()
		c := bounded(0, [2]int{256, 64})
		c.Limits.Connections = connections
		if got := TooFewFiles(files, c); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
	f(65536, 0, "")
	f(kept+2*256, 0, "")
	f(1024, 0, "")
	f(kept+300, 0, "LimitNOFILE, 588, leaves room for only 150 client connections beside those to upstreams; 256 connections want 800: raise it, or lower pool.max")
	f(kept+300, 100, "")
	f(kept+300, 200, "LimitNOFILE, 588, leaves room for only 150 client connections beside those to upstreams; 200 connections want 688: raise it, or lower pool.max")
}
