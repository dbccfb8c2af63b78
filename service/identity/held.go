package identity

import (
	"fmt"
	"time"

	"github.com/mtlsproxy/mtlsproxy/tlsclient"
)

// held is what was found to hold less than what is in use, and since when.
type held struct {
	generation *tlsclient.Generation
	since      time.Time
}

// Hold puts off what was found if it holds less than what is in use: a chain whose
// intermediates are still to be written, or a part of the trust anchors, cannot be told
// from a whole file. It is taken once it has stayed the same for as long as a rotation
// may take.
func (i *Identity) Hold(f *Found) *Found {
	i.mu.Lock()
	defer i.mu.Unlock()
	inUse := i.state.Generation
	if f.Err != nil || inUse == nil || f.Generation == inUse {
		return f
	}
	path, less := i.less(f.Generation, inUse)
	if less == "" {
		return f
	}
	if i.held.generation == nil || !i.held.generation.Same(f.Generation) {
		i.held = held{f.Generation, f.at}
	}
	if f.at.Sub(i.held.since) >= patience {
		return f
	}
	err := fmt.Errorf("%q holds %s; it is taken once it has stayed so for %v, or with a reload", path, less, patience)
	return &Found{Err: &tlsclient.LoadError{Reason: tlsclient.ReasonChanging, Path: path, Err: err}, disk: f.disk, at: f.at}
}

// less says what of g is less than in the generation in use, and in which file; "" if
// nothing is.
func (i *Identity) less(g, inUse *tlsclient.Generation) (path, what string) {
	switch {
	case g.Intermediates() < inUse.Intermediates():
		return i.Path(), fmt.Sprintf("a chain of %d, and the one in use has %d certificates", g.Intermediates()+1, inUse.Intermediates()+1)
	case g.Anchors() > 0 && g.Anchors() < inUse.Anchors():
		return i.files.CA, fmt.Sprintf("%d of trust anchors, of which %d are in use", g.Anchors(), inUse.Anchors())
	}
	return "", ""
}
