package tlsclient

import (
	"testing"

	"github.com/mtlsproxy/mtlsproxy/tlsclient/rawconn"
)

func TestReplayKeepsWhatFits(t *testing.T) {
	for _, size := range []int{0, 1, 16<<10 - 1, 16 << 10, 40_000, replaySize} {
		r := replay{wanted: true, buffers: new(rawconn.Buffers)}
		for i := 0; i < size; i += 1000 {
			p := make([]byte, min(1000, size-i))
			for j := range p {
				p[j] = byte((i + j) % 251)
			}
			r.add(p)
		}
		n := 0
		for p := r.from(0); len(p) > 0; p = r.from(n) {
			for i := range p {
				if p[i] != byte((n+i)%251) {
					t.Fatalf("size %d: byte %d is wrong", size, n+i)
				}
			}
			n += len(p)
		}
		if n != size || r.over.Load() {
			t.Errorf("%d bytes of %d, too many: %v", n, size, r.over.Load())
		}
		if r.add(make([]byte, replaySize+1-size)); !r.over.Load() {
			t.Errorf("size %d: one byte too many was kept", size)
		}
		r.free()
	}
}
