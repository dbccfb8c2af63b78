package service

// Connections returns how many client connections the front has.
func (s *Service) Connections() int { return s.front.Connections() }
