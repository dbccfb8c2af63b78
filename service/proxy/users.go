package proxy

import (
	"sync"
	"sync/atomic"
)

// Users counts those who use something that is to be closed after the last of them.
// Make one with NewUsers.
type Users struct {
	n      atomic.Int64 // and one more until Retire
	once   sync.Once
	unused chan struct{}
}

// NewUsers makes a count of nobody.
func NewUsers() *Users {
	u := &Users{unused: make(chan struct{})}
	u.n.Store(1)
	return u
}

// Retire says that nobody will enter any more: Unused is closed after the last has
// left. It must be called once.
func (u *Users) Retire() { u.leave() }

// Unused is closed when nobody uses the thing, or will.
func (u *Users) Unused() <-chan struct{} { return u.unused }

func (u *Users) enter() { u.n.Add(1) }

func (u *Users) leave() {
	if u.n.Add(-1) <= 0 {
		u.once.Do(func() { close(u.unused) })
	}
}
