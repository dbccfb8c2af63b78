package tlsclient

import "time"

// refused is told that the server does not take the certificate that l shows.
func (l *link) refused() {
	if !l.pool.retired.Load() { // otherwise a newer one is in use already
		l.pool.upstream.tellRejected()
	}
}

// refusalPause is how long Options.Rejected is not called again.
const refusalPause = time.Second

func (u *Upstream) tellRejected() {
	tell := u.opt().Rejected
	if tell == nil {
		return
	}
	now := int64(time.Since(u.begun)) + 1
	last := u.told.Load()
	if last != 0 && now-last < int64(refusalPause) || !u.told.CompareAndSwap(last, now) {
		return
	}
	tell()
}
