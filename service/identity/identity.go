package identity

import (
	"bytes"
	"crypto/sha256"
	"crypto/x509"
	"errors"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/mtlsproxy/mtlsproxy/tlsclient"
)

// Identity is one identity: its files, and the generation that was made of them. Its
// methods may be called from any goroutine, but Take, Mend and Commit, which come from
// one at a time.
type Identity struct {
	files  tlsclient.Identity
	static string // one of the files that does not change while the daemon runs; "" if all may

	mu      sync.Mutex
	state   State
	number  uint64    // of the last generation that was made
	tried   time.Time // the last time
	tries   int       // that failed, since one did not
	notices notices
	held    held
	last    memory

	settled bool // nothing that a commit may have left is to be settled any more
}

// State is an identity at one moment.
type State struct {
	Generation *tlsclient.Generation // in use; nil: none could be made yet
	Loaded     time.Time             // when it was made

	Checked  time.Time         // when the files were last found to be good
	Changed  time.Time         // when they were last found to hold something else
	Disk     *x509.Certificate // what the certificate file held at the last try; nil: nothing that can be read
	Err      error             // why the files cannot be used; nil: they can
	Since    time.Time         // since when they cannot
	Lasting  bool              // they could not for longer than a rotation takes
	Failures map[tlsclient.Reason]uint64

	Staged *Staged // nil: nothing is
}

// New returns an identity of which nothing was tried yet. static is one of the files
// that does not change while the daemon runs, as the credentials of systemd, or "".
func New(files tlsclient.Identity, static string) *Identity {
	return &Identity{files: files, static: static, state: State{Failures: make(map[tlsclient.Reason]uint64)}}
}

// With returns the identity with other files. Until they are tried, what was loaded
// from those before is in use.
func (i *Identity) With(files tlsclient.Identity, static string) *Identity {
	i.mu.Lock()
	defer i.mu.Unlock()
	n := New(files, static)
	n.number = i.number
	n.state.Generation, n.state.Loaded, n.state.Changed = i.state.Generation, i.state.Loaded, i.state.Changed
	n.notices = i.notices
	maps.Copy(n.state.Failures, i.state.Failures)
	return n
}

// Name returns the identity's name.
func (i *Identity) Name() string { return i.files.Name }

// Files returns the paths that the identity is made of.
func (i *Identity) Files() []string { return i.files.Files() }

// Continue numbers generations on from another identity of the same name, which may
// still have connections.
func (i *Identity) Continue(number uint64) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.number = max(i.number, number)
}

// Number returns the number of the last generation.
func (i *Identity) Number() uint64 {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.number
}

// State returns the present state.
func (i *Identity) State() State {
	i.mu.Lock()
	defer i.mu.Unlock()
	s := i.state
	s.Failures = maps.Clone(s.Failures)
	return s
}

// Generation returns the generation in use, or nil.
func (i *Identity) Generation() *tlsclient.Generation {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.state.Generation
}

// Found is what the files of an identity were found to hold.
type Found struct {
	Generation *tlsclient.Generation // the one in use if they say what it says; nil if they cannot be used
	Err        error                 // why they cannot
	disk       *x509.Certificate
	at         time.Time
}

// Try reads the files and finds out whether a generation can be made of them. It
// changes nothing. As long as they say what they said within the last minute, they are
// not opened: a passphrase may be made to take long.
func (i *Identity) Try(now time.Time) *Found {
	f := i.look(now)
	if f.Err != nil {
		if left := i.interrupted(); left != nil {
			f.Err = errors.Join(f.Err, left)
		}
	}
	return f
}

func (i *Identity) look(now time.Time) *Found {
	m, err := i.files.Read() // Make says what could not be read, beside what it finds itself
	var digest [sha256.Size]byte
	if err == nil {
		digest = digestOf(m)
		if f := i.known(digest, now); f != nil {
			return f
		}
	}
	f := &Found{at: now}
	inUse := i.Generation()
	f.Generation, f.Err = i.files.MakeAfter(inUse, m, i.Number()+1, now)
	switch {
	case f.Err != nil:
		f.Generation, f.disk = nil, m.Leaf()
		if inUse != nil && f.disk != nil && bytes.Equal(f.disk.Raw, inUse.Leaf.Raw) && i.onlyOld(f.Err, inUse.Leaf, now) {
			f.Generation, f.Err = inUse, nil // nobody has replaced it: that it expires is told in its own way
		}
	case inUse != nil && inUse.Same(f.Generation):
		f.Generation, f.disk = inUse, inUse.Leaf
	default:
		f.disk = f.Generation.Leaf
	}
	if err == nil {
		i.remember(digest, f)
	}
	return f
}

// onlyOld reports whether err, of the files that hold leaf, says nothing but that this
// has expired. Trust anchors that have may be new.
func (i *Identity) onlyOld(err error, leaf *x509.Certificate, now time.Time) bool {
	return now.After(leaf.NotAfter) && !slices.ContainsFunc(tlsclient.LoadErrors(err), func(e *tlsclient.LoadError) bool {
		return e.Reason != tlsclient.ReasonExpired || e.Path != i.Path()
	})
}

// Take makes what was found what is in use, and reports whether that is another
// generation than before. If the files cannot be used, the generation in use stays.
func (i *Identity) Take(f *Found) (swapped bool) {
	i.mu.Lock()
	defer i.mu.Unlock()
	if f.Err != nil && i.state.Err != nil && (f.Err.Error() != i.state.Err.Error() || !sameCertificate(f.disk, i.state.Disk)) {
		i.state.Changed = f.at // from one that cannot be used to another
	}
	i.tried, i.state.Disk = f.at, f.disk
	if s := i.state.Staged; s != nil && s.outdated(f.at) {
		i.drop()
	}
	if f.Err != nil {
		i.fail(f)
		return false
	}
	i.tries = 0
	i.notices.healed = i.notices.trouble != ""
	i.state.Checked, i.state.Err, i.state.Since, i.state.Lasting = f.at, nil, time.Time{}, false
	if f.Generation == i.state.Generation {
		return false
	}
	i.number = f.Generation.Number
	i.state.Generation, i.state.Loaded, i.state.Changed = f.Generation, f.at, f.at
	i.notices.renew()
	return true
}

func sameCertificate(a, b *x509.Certificate) bool {
	return a == b || a != nil && b != nil && bytes.Equal(a.Raw, b.Raw)
}

// fail remembers that the files could not be used.
func (i *Identity) fail(f *Found) {
	s := &i.state
	if s.Err == nil {
		s.Since, s.Changed = f.at, f.at
	}
	s.Err = f.Err
	s.Failures[tlsclient.ReasonOf(f.Err)]++
	i.tries++
	s.Lasting = s.Generation == nil || f.at.Sub(s.Since) >= patience
}
