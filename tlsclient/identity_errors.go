package tlsclient

import (
	"errors"
	"slices"
)

// Reason is why an identity cannot be loaded, as one word of a closed list.
type Reason string

// The reasons, in the order in which things have to be mended: what comes before may
// hide what comes after.
const (
	ReasonMissing     Reason = "missing"       // there is no such file
	ReasonUnreadable  Reason = "unreadable"    // it cannot be opened or read
	ReasonMode        Reason = "mode"          // others may read or change a file that holds a secret
	ReasonTooLarge    Reason = "too_large"     // it is not what it should be, or hostile
	ReasonChanging    Reason = "changing"      // the files did not hold still
	ReasonEmpty       Reason = "empty"         // there is nothing in it of what should be
	ReasonMalformed   Reason = "malformed"     // it cannot be parsed, or only a part of it
	ReasonUnsupported Reason = "unsupported"   // it is kept in a way that is not read here
	ReasonPassphrase  Reason = "passphrase"    // the passphrase is wrong, or there is none
	ReasonSigner      Reason = "signer"        // the key is no file, and its store does not give it
	ReasonMismatch    Reason = "mismatch"      // key and certificate do not belong together
	ReasonUsage       Reason = "usage"         // the certificate is not for clients
	ReasonExpired     Reason = "expired"       // the certificate, every trust anchor, or a revocation list
	ReasonNotYetValid Reason = "not_yet_valid" // the certificate
	ReasonOther       Reason = "other"         // an error that is no LoadError
)

// Reasons returns all reasons, in the order of the constants.
func Reasons() []Reason {
	return []Reason{
		ReasonMissing, ReasonUnreadable, ReasonMode, ReasonTooLarge, ReasonChanging, ReasonEmpty, ReasonMalformed, ReasonUnsupported,
		ReasonPassphrase, ReasonSigner, ReasonMismatch, ReasonUsage, ReasonExpired, ReasonNotYetValid, ReasonOther,
	}
}

// LoadError is one thing that is wrong with an identity. Its text names the file and
// what to do, and never anything of what is in a key or a passphrase.
type LoadError struct {
	Reason Reason
	Path   string // of the file that is to be mended; empty: none is
	Err    error
}

func (e *LoadError) Error() string { return e.Err.Error() }

func (e *LoadError) Unwrap() error { return e.Err }

// ReasonOf returns the reason of err: of several errors that are joined the one that
// must be mended first, ReasonOther if there is none, and "" if err is nil.
func ReasonOf(err error) Reason {
	if err == nil {
		return ""
	}
	first := ReasonOther
	for _, e := range LoadErrors(err) {
		if slices.Index(Reasons(), e.Reason) < slices.Index(Reasons(), first) {
			first = e.Reason
		}
	}
	return first
}

// LoadErrors returns every LoadError in the tree of err, in order.
func LoadErrors(err error) []*LoadError {
	if e, ok := err.(*LoadError); ok {
		return []*LoadError{e}
	}
	var all []*LoadError
	if joined, ok := err.(interface{ Unwrap() []error }); ok {
		for _, e := range joined.Unwrap() {
			all = append(all, LoadErrors(e)...)
		}
	} else if next := errors.Unwrap(err); next != nil {
		all = LoadErrors(next)
	}
	return all
}
