package service

import (
	"errors"
	"sync"
	"time"

	"github.com/mtlsproxy/mtlsproxy/service/config"
)

// How long a look at the configuration on disk is good for, since health may be asked
// by many, and how long it may take before the last answer has to do.
const (
	onDiskFor      = time.Second
	onDiskPatience = time.Second
)

// disk remembers the last look at the configuration on disk.
type disk struct {
	mu     sync.Mutex
	at     time.Time
	config *config.Config
	err    error
	look   chan struct{} // closed when the look that is under way is over; nil: none is
}

// forget makes the next look a new one.
func (d *disk) forget() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.at = time.Time{}
}

// errSlowDisk is what is known of a configuration that cannot be read in time.
var errSlowDisk = errors.New("reading the configuration takes too long; is its file system in order?")

// onDisk returns the configuration as a reload would load it now.
func (s *Service) onDisk() (*config.Config, error) {
	if s.Load == nil {
		return s.world.Load().config, nil
	}
	look := s.disk.begin(s.load)
	if look != nil {
		select {
		case <-look:
		case <-time.After(onDiskPatience):
			return nil, errSlowDisk
		}
	}
	s.disk.mu.Lock()
	defer s.disk.mu.Unlock()
	return s.disk.config, s.disk.err
}

// begin looks unless the last look is good enough, or another is under way, and
// returns what to wait for.
func (d *disk) begin(load func() (*config.Config, error)) <-chan struct{} {
	d.mu.Lock()
	defer d.mu.Unlock()
	now := time.Now()
	if d.look != nil || !d.at.IsZero() && now.Sub(d.at) < onDiskFor {
		return d.look
	}
	done := make(chan struct{})
	d.look, d.at = done, now
	go func() {
		c, err := load()
		d.mu.Lock()
		defer d.mu.Unlock()
		d.config, d.err, d.look = c, err, nil
		close(done)
	}()
	return done
}
