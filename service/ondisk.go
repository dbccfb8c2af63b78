package service

import (
	"sync"
	"time"

	"github.com/mtlsproxy/mtlsproxy/service/config"
)

// onDiskFor is how long a look at the configuration on disk is good for: health may
// be asked by many.
const onDiskFor = time.Second

// disk remembers the last look at the configuration on disk.
type disk struct {
	mu     sync.Mutex
	at     time.Time
	config *config.Config
	err    error
}

// onDisk returns the configuration as a reload would load it now.
func (s *Service) onDisk() (*config.Config, error) {
	if s.Load == nil {
		return s.world.Load().config, nil
	}
	d := &s.disk
	d.mu.Lock()
	defer d.mu.Unlock()
	if now := time.Now(); d.at.IsZero() || now.Sub(d.at) >= onDiskFor {
		d.at = now
		d.config, d.err = s.load()
	}
	return d.config, d.err
}
