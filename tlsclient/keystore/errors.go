package keystore

import "fmt"

// Problem is what kind of thing is wrong.
type Problem uint8

// The problems.
const (
	Malformed   Problem = iota // it cannot be parsed
	Empty                      // there is nothing of what was asked for
	Unsupported                // it is kept in a way that is not read here
	Passphrase                 // the passphrase is wrong, or there is none
)

// Error is why there is no key. Its text fits behind "key NAME: ".
type Error struct {
	Problem Problem
	text    string
}

func (e *Error) Error() string { return e.text }

func malformed(format string, args ...any) error { return newError(Malformed, format, args) }

func unsupported(format string, args ...any) error { return newError(Unsupported, format, args) }

func newError(p Problem, format string, args []any) error {
	return &Error{Problem: p, text: fmt.Sprintf(format, args...)}
}

// noPassphrase is for what cannot be opened without one.
func noPassphrase() error {
	return &Error{Problem: Passphrase, text: "it is encrypted, and there is no passphrase for it; write that into a file, and name it with passphrase_file"}
}

// wrongPassphrase is for what does not open. An encrypted file that was damaged looks
// the same.
func wrongPassphrase() error {
	return &Error{Problem: Passphrase, text: "the passphrase does not open it; put the right one into the passphrase file (or else the file is damaged)"}
}
