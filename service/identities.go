package service

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/mtlsproxy/mtlsproxy/service/config"
	"github.com/mtlsproxy/mtlsproxy/service/identity"
	"github.com/mtlsproxy/mtlsproxy/service/sd"
	"github.com/mtlsproxy/mtlsproxy/tlsclient"
)

// member is an identity of a world.
type member struct {
	*identity.Identity
	config config.Identity
	found  *identity.Found // when the world was built
}

// tryIdentities tries the files of every identity. One with the same files as before is
// the same identity. All that is wrong with any of them is in the error, but for those
// that a daemon can do without: see dispensable.
func (s *Service) tryIdentities(c *config.Config, old *world, now time.Time) (map[string]*member, error) {
	members := make(map[string]*member, len(c.Identities))
	var errs []error
	for _, id := range c.Identities {
		before := old.identities[id.Name]
		m := &member{config: id}
		switch {
		case before == nil:
			m.Identity = identity.New(s.identityFiles(id))
			for _, g := range s.showing(old)[id.Name] {
				m.Continue(g.Generation.Number)
			}
		case before.config == id:
			m.Identity = before.Identity
		default:
			m.Identity = before.Identity.With(s.identityFiles(id))
		}
		m.found = m.Try(now)
		if m.found.Err != nil && !s.dispensable(m, before, old) {
			errs = append(errs, identityErrors(id.Name, m.found.Err)...)
		}
		members[id.Name] = m
	}
	return members, errors.Join(errs...)
}

// dispensable reports whether the daemon goes on without a usable identity. One that
// starts does: its other routes serve, and those of the identity say what is missing. A
// reload does for what it did not have before either; it does not break what works.
func (s *Service) dispensable(m, before *member, old *world) bool {
	if old.config == nil {
		return !s.Strict
	}
	return before != nil && before.Identity == m.Identity && m.Generation() == nil
}

// identityFiles is what an identity is made of, and which of it does not change while
// the daemon runs.
func (s *Service) identityFiles(c config.Identity) (files tlsclient.Identity, static string) {
	files = tlsclient.Identity{
		Name: c.Name, Cert: c.Cert, Key: c.Key, PKCS12: c.PKCS12, Passphrase: c.Passphrase,
		CA: c.CA, SystemCA: c.SystemCA, CRL: c.CRL,
	}
	for _, path := range files.Files() {
		if sd.InCredentials(s.Getenv, path) {
			static = path
		}
	}
	return files, static
}

// identityErrors puts the identity's name before each thing that is wrong with it.
func identityErrors(name string, err error) []error {
	joined, ok := err.(interface{ Unwrap() []error })
	if !ok {
		return []error{fmt.Errorf("identity %q: %w", name, err)}
	}
	var errs []error
	for _, e := range joined.Unwrap() {
		errs = append(errs, identityErrors(name, e)...)
	}
	return errs
}

// tendIdentities has the identities of w tried whenever their files change.
func (s *Service) tendIdentities(w *world) {
	var list []*identity.Identity
	for _, c := range w.config.Identities {
		list = append(list, w.identities[c.Name].Identity)
	}
	s.tender.Set(list, w.config.Reload.Poll)
}

// rotate tries identities, in turn with reloads, and goes over to what is new.
func (s *Service) rotate(names []string) {
	s.inTurn(func() {
		w := s.world.Load()
		for _, name := range names {
			if m := w.identities[name]; m != nil {
				s.take(w, m, m.Hold(s.mend(m, m.Try(time.Now()))))
			}
		}
		if s.Notify != nil {
			s.Notify.Status(s.summary())
		}
	})
}

// mend settles what a commit has left that was interrupted.
func (s *Service) mend(m *member, found *identity.Found) *identity.Found {
	found, moved := m.Mend(found, time.Now())
	for _, path := range moved {
		s.Log.Warn("a commit that was interrupted is finished or taken back", "identity", m.Name(), "path", path)
	}
	return found
}

// unstage drops what is staged for identities that other does not have.
func (w *world) unstage(other *world) {
	for name, m := range w.identities {
		if o := other.identities[name]; o == nil || o.Identity != m.Identity {
			_ = m.Unstage() // mostly nothing is
		}
	}
}

// take makes what was found of an identity what its upstreams show, and tells of it.
func (s *Service) take(w *world, m *member, found *identity.Found) {
	m.Take(found)
	for _, u := range s.upstreamsOf(w) {
		if u.config.Identity == m.Name() {
			u.show(m.Identity)
		}
	}
	m.Report(s.Log, time.Now())
}

// show gives an upstream the generation in use of its identity.
func (u *upstream) show(id *identity.Identity) {
	state := id.State()
	switch {
	case state.Generation == nil:
		u.client.Lack(lackClass(id, state.Err), fmt.Errorf("identity %q cannot be used: %w", id.Name(), state.Err))
	case u.client.Generation() != state.Generation:
		u.client.Use(state.Generation)
	}
}

// lackClass is the class of answers for want of an identity: its certificate has
// expired, if that is all there is, or anything else.
func lackClass(id *identity.Identity, err error) tlsclient.Class {
	for _, e := range tlsclient.LoadErrors(err) {
		if e.Reason != tlsclient.ReasonExpired || e.Path != id.Path() {
			return tlsclient.IdentityUnavailable
		}
	}
	return tlsclient.IdentityExpired
}

// inTurn does something between reloads and other changes of the world, and returns
// once it is done, or the daemon ends.
func (s *Service) inTurn(f func()) {
	done, err := s.begin(context.Background(), f)
	if err != nil {
		return
	}
	select {
	case <-done:
	case <-s.leaving:
	}
}

// begin waits for f's turn, unless the daemon ends or whoever asks for it has gone. What
// is returned is closed at its end, which is waited for even then.
func (s *Service) begin(ctx context.Context, f func()) (<-chan struct{}, error) {
	done := make(chan struct{})
	select {
	case s.tasks <- func() { defer close(done); f() }:
		return done, nil
	case <-s.leaving:
		return nil, errTooLate()
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}
