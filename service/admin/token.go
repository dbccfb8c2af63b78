package admin

import (
	"crypto/sha256"
	"crypto/subtle"
	"fmt"
	"io"
	"os"
	"strings"
	"syscall"
)

// Token is a secret that a client shows. The zero Token matches nothing.
type Token struct {
	sum   [sha256.Size]byte // the secret itself is not kept
	known bool
}

// The length of a token, in bytes: too short is guessed, too long is no token.
const (
	minToken = 16
	maxToken = 4096
)

// ReadToken reads a token from a file, which must not be open to everybody. White
// space around it is left out.
func ReadToken(path string) (Token, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0) // a FIFO must not hold up the daemon
	if err != nil {
		return Token{}, fmt.Errorf("reading the token: %w", err)
	}
	defer func() { _ = f.Close() }() // it was only read
	info, err := f.Stat()
	switch {
	case err != nil:
		return Token{}, fmt.Errorf("reading the token: %w", err)
	case !info.Mode().IsRegular():
		return Token{}, fmt.Errorf("token file %q is not a regular file", path)
	case info.Mode().Perm()&0o007 != 0:
		return Token{}, fmt.Errorf("token file %q is open to every user of this host (mode %04o); run: chmod o= %s", path, info.Mode().Perm(), path)
	}
	b, err := io.ReadAll(io.LimitReader(f, maxToken+1))
	if err != nil {
		return Token{}, fmt.Errorf("reading the token: %w", err)
	}
	secret := strings.TrimSpace(string(b))
	switch {
	case len(b) > maxToken:
		return Token{}, fmt.Errorf("token file %q is longer than %d bytes", path, maxToken)
	case len(secret) < minToken:
		return Token{}, fmt.Errorf("the token in %q is shorter than %d characters; make one with: openssl rand -hex 32", path, minToken)
	case strings.ContainsFunc(secret, func(r rune) bool { return r <= ' ' || r > '~' }):
		return Token{}, fmt.Errorf("the token in %q holds characters that no header field can carry; make one with: openssl rand -hex 32", path)
	}
	return Token{sum: sha256.Sum256([]byte(secret)), known: true}, nil
}

// matches compares in a time that tells nothing about the secret.
func (t Token) matches(shown string) bool {
	sum := sha256.Sum256([]byte(shown))
	return subtle.ConstantTimeCompare(sum[:], t.sum[:]) == 1 && t.known
}
