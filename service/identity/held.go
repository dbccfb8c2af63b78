package identity

import (
	"fmt"
	"time"

	"github.com/mtlsproxy/mtlsproxy/tlsclient"
)

// held is what was found to hold less than what is in use, and since when.
type held struct {
	less  string // what it is less by; "": nothing was
	since time.Time
}

// Hold puts off what was found if it holds less than what is in use: a chain whose
// intermediates are still to be written, or a part of the trust anchors or revocation
// lists, cannot be told from a whole file. It is taken once it has stayed the same for as long as a rotation
// may take.
func (i *Identity) Hold(f *Found) *Found {
	i.mu.Lock()
	defer i.mu.Unlock()
	inUse := i.state.Generation
	if f.Err != nil || inUse == nil {
		return f
	}
	path, less := i.less(f.Generation, inUse)
	if less == "" || f.at.Add(patience).After(inUse.Leaf.NotAfter) { // or what is in use would not last as long
		i.held = held{}
		return f
	}
	if i.held.less != less { // another pair meanwhile is no reason to wait for longer
		i.held = held{less, f.at}
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
	case g.Missing(inUse) > 0 && g.Serial() == inUse.Serial(): // a new certificate may have a new authority
		return i.files.CA, fmt.Sprintf("not all trust anchors that are in use, %d are missing", g.Missing(inUse))
	case g.Unlisted(inUse) > 0:
		return i.files.CRL, fmt.Sprintf("no revocation list of %d issuers that have one in use", g.Unlisted(inUse))
	}
	return "", ""
}
