package service

import "github.com/mtlsproxy/mtlsproxy/service/identity"

// Connections returns how many client connections the front has.
func (s *Service) Connections() int { return s.front.Connections() }

// InTurn does something between reloads.
func (s *Service) InTurn(f func()) { s.inTurn(f) }

// Identity returns the identity of that name.
func (s *Service) Identity(name string) *identity.Identity {
	return s.world.Load().identities[name].Identity
}
