package identity

import (
	"crypto/sha256"
	"encoding/binary"
	"slices"
	"time"

	"github.com/mtlsproxy/mtlsproxy/tlsclient"
)

// memory is what came of the last try, so that files that say the same need not be
// opened again: a server that refuses the certificate has them tried once a second.
type memory struct {
	digest [sha256.Size]byte
	found  *Found // nil: nothing is known
}

// knownFor is how long it is relied on. What depends on the time alone, such as the end
// of trust anchors, is seen that much later.
const knownFor = time.Minute

// digestOf tells materials apart without keeping their secrets.
func digestOf(m *tlsclient.Material) (sum [sha256.Size]byte) {
	h := sha256.New()
	for _, part := range [][]byte{m.Cert, m.Key, m.CA, m.CRL, m.PKCS12, m.Passphrase} {
		var size [8]byte
		binary.BigEndian.PutUint64(size[:], uint64(len(part)))
		_, _ = h.Write(size[:]) // a hash never fails
		_, _ = h.Write(part)
	}
	h.Sum(sum[:0])
	return sum
}

// known returns what a try of the same files has found lately, or nil.
func (i *Identity) known(digest [sha256.Size]byte, now time.Time) *Found {
	i.mu.Lock()
	defer i.mu.Unlock()
	f := i.last.found
	if f == nil || i.last.digest != digest || now.Before(f.at) || now.Sub(f.at) >= knownFor {
		return nil
	}
	if f.Err == nil && (f.Generation != i.state.Generation || now.After(f.Generation.Leaf.NotAfter)) {
		return nil
	}
	return &Found{Generation: f.Generation, Err: f.Err, disk: f.disk, at: now}
}

// remember keeps what a try of files has found, unless time or a store of keys may
// change it.
func (i *Identity) remember(digest [sha256.Size]byte, f *Found) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.last = memory{}
	if !slices.ContainsFunc(tlsclient.LoadErrors(f.Err), func(e *tlsclient.LoadError) bool {
		return e.Reason == tlsclient.ReasonNotYetValid || e.Reason == tlsclient.ReasonSigner
	}) {
		kept := *f
		i.last = memory{digest: digest, found: &kept}
	}
}
