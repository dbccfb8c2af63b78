package tlsclient

import "time"

// refused is told that the server does not take the certificate that l shows. Nothing is
// cut for it: a connection of an older generation carries no exchange but the one that it
// had when it was replaced, which the server has taken with that very certificate.
func (l *link) refused() {
	if !l.pool.retired.Load() { // otherwise a newer one is in use already
		l.pool.upstream.tellRejected()
	}
}

// outdated reports whether a failure of the class is the refusal of a certificate that has
// been replaced: the server may be right.
func (l *link) outdated(class Class) bool {
	return class == ClientCertRejected && l.pool.retired.Load()
}

// accepted is what pool.refusals is once an answer has shown that the certificate is
// taken.
const accepted = -1

// answered is told of the status of every answer. Servers refuse certificates with 401
// and 403, and nginx with 400; but so they refuse requests.
func (l *link) answered(status int) {
	p := l.pool
	n := p.refusals.Load()
	if status != 400 && status != 401 && status != 403 {
		if n != accepted {
			p.refusals.Store(accepted)
		}
		return
	}
	l.refused()
	for n != accepted && !p.refusals.CompareAndSwap(n, n+1) {
		n = p.refusals.Load()
	}
	if tell := p.upstream.opt().Suspected; n+1 == suspicious && tell != nil && !p.retired.Load() {
		tell(p.generation, suspicious)
	}
}

// suspicious is how many answers in a row, from the first on, make it likely that it is
// the certificate that is refused.
const suspicious = 5

// refused returns how many answers there have been, if every one was a refusal, and 0
// otherwise.
func (p *pool) refused() uint64 { return uint64(max(p.refusals.Load(), 0)) }

// Suspicious reports whether so many answers have refused the generation's certificate,
// and none has not, that it is likely that the server does not accept it.
func (s *GenerationState) Suspicious() bool { return s.Refused >= suspicious }

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
