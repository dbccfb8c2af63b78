package service

import (
	"errors"
	"fmt"
	"time"

	"github.com/mtlsproxy/mtlsproxy/service/config"
	"github.com/mtlsproxy/mtlsproxy/tlsclient"
)

// identity is a loaded identity and what it was made from.
type identity struct {
	config     config.Identity
	generation *tlsclient.Generation
	loaded     time.Time
}

// loadIdentities reads every identity. One whose files say what they said before
// keeps its generation. All that is wrong with any of them is in the error.
func loadIdentities(c *config.Config, old map[string]*identity, now time.Time) (map[string]*identity, error) {
	loaded := make(map[string]*identity, len(c.Identities))
	var errs []error
	for _, id := range c.Identities {
		before := old[id.Name]
		number := uint64(1)
		if before != nil {
			number = before.generation.Number + 1
		}
		files := tlsclient.Identity{Name: id.Name, Cert: id.Cert, Key: id.Key, CA: id.CA, SystemCA: id.SystemCA, CRL: id.CRL}
		g, err := files.Load(number, now)
		switch {
		case err != nil:
			errs = append(errs, identityErrors(id.Name, err)...)
		case before != nil && before.generation.Same(g):
			loaded[id.Name] = &identity{config: id, generation: before.generation, loaded: before.loaded}
		default:
			loaded[id.Name] = &identity{config: id, generation: g, loaded: now}
		}
	}
	return loaded, errors.Join(errs...)
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
