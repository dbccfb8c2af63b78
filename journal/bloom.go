package journal

// A bloom is a Bloom filter of ten bits and seven functions for each id: about one in a
// hundred of other ids seems to be in it.
type bloom []byte

func newBloom(n int) bloom { return make(bloom, (n*10+7)/8) }

func (f bloom) add(hash uint64) {
	for i := range uint64(7) {
		bit := f.bit(hash, i)
		f[bit/8] |= 1 << (bit % 8)
	}
}

func (f bloom) may(hash uint64) bool {
	if len(f) == 0 {
		return false
	}
	for i := range uint64(7) {
		if bit := f.bit(hash, i); f[bit/8]&(1<<(bit%8)) == 0 {
			return false
		}
	}
	return true
}

func (f bloom) bit(hash, i uint64) uint64 {
	return (hash + i*(hash>>32|1)) % uint64(len(f)*8)
}

// hashID is FNV-1a, with a last stir that makes all its bits depend on all of the id. It
// stands in files: it must not change.
func hashID(head []byte, tail int64) uint64 {
	h := uint64(14695981039346656037)
	for _, c := range head {
		h = (h ^ uint64(c)) * 1099511628211
	}
	h = (h ^ uint64(tail)) * 1099511628211
	h ^= h >> 32
	h *= 0x9e3779b97f4a7c15
	return h ^ h>>29
}
