package service

import (
	"fmt"
	"sort"
	"syscall"

	"github.com/mtlsproxy/mtlsproxy/journal"
	"github.com/mtlsproxy/mtlsproxy/service/config"
)

// enoughConnections is how many client connections should find room, unless the
// configuration wants fewer.
const enoughConnections = 256

// mostFiles is what a bound on open files is looked for below: fs.nr_open, mostly.
const mostFiles = 1 << 20

// TooFewFiles says what is wrong with a bound on open files that leaves room for too few
// client connections, and which would do. It is "" if there is nothing.
func TooFewFiles(files uint64, c *config.Config) string {
	want := enoughConnections
	if n := c.Limits.Connections; n > 0 {
		want = min(want, n)
	}
	have := room(files, c)
	if have >= want {
		return ""
	}
	needed := sort.Search(mostFiles, func(n int) bool { return room(uint64(n), c) >= want })
	return fmt.Sprintf("LimitNOFILE, %d, leaves room for only %d client connections beside those to upstreams; %d connections want %d: raise it, or lower pool.max",
		files, have, want, needed)
}

// warnTight makes an event of too low a bound on open files. If there are fewer connections
// than the configuration says, there is one already.
func (s *Service) warnTight(c *config.Config) {
	var files syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &files); err != nil || c.Limits.Connections > room(files.Cur, c) {
		return
	}
	if text := TooFewFiles(files.Cur, c); text != "" {
		s.Log.Warn("there is room for few client connections", "event", journal.Degraded, "error", text)
	}
}
