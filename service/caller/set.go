package caller

import (
	"errors"
	"fmt"
	"os/user"
	"slices"
	"strconv"
	"strings"
)

// ErrNoSuchName marks the errors of NewSet for names that the user database does
// not have, and for rules that fit only what is ErrUnmapped. Whoever carries on
// without them leaves out nobody who could be told from others.
var ErrNoSuchName = errors.New("no such name")

// Set is who some rules allow. The zero Set allows nobody. It does not change.
type Set struct {
	any        bool
	uids, gids []span
}

// span is a range of numbers, both ends included.
type span struct{ first, last uint32 }

// NewSet makes a set of rules: "any", "user:NAME", "group:NAME", "uid:1000",
// "uid:1000-1999", "gid:1000" or "gid:1000-1999". Names are looked up now and not
// again: a member of a group is one who has it when it connects, but a user made
// later, or a name given to another number, takes a new Set. All rules that make
// no sense, all names that do not exist and all rules that fit only what is
// ErrUnmapped are in the error; the Set has the others and works.
func NewSet(rules []string) (Set, error) { return newSet(rules, namespaceIn(kernelFiles)) }

func newSet(rules []string, n namespace) (Set, error) {
	var s Set
	var errs []error
	for _, r := range rules {
		if err := s.add(r, n); err != nil {
			errs = append(errs, err)
		}
	}
	return s, errors.Join(errs...)
}

func (s *Set) add(rule string, n namespace) error {
	form, value, _ := strings.Cut(rule, ":")
	switch {
	case rule == "any":
		s.any = true
		return nil
	case form == "user" && value != "":
		return addName(&s.uids, rule, "uid", n.uid, func() (string, error) { return uidOf(value) })
	case form == "group" && value != "":
		return addName(&s.gids, rule, "gid", n.gid, func() (string, error) { return gidOf(value) })
	case form == "uid":
		return addSpan(&s.uids, rule, n.uid, value)
	case form == "gid":
		return addSpan(&s.gids, rule, n.gid, value)
	}
	return fmt.Errorf(`caller %q is none of "any", "user:NAME", "group:NAME", "uid:N", "uid:N-M", "gid:N" and "gid:N-M"`, rule)
}

func addName(to *[]span, rule, number string, unmapped uint32, lookup func() (string, error)) error {
	id, err := lookup()
	if err != nil {
		return fmt.Errorf("caller %q: %w; create it, or write %s: with its number", rule, err, number)
	}
	return addSpan(to, rule, unmapped, id)
}

func uidOf(name string) (string, error) {
	u, err := user.Lookup(name)
	var missing user.UnknownUserError
	switch {
	case errors.As(err, &missing):
		return "", fmt.Errorf("%w: there is no user %q", ErrNoSuchName, name)
	case err != nil:
		return "", fmt.Errorf("looking up user %q: %w", name, err)
	}
	return u.Uid, nil
}

func gidOf(name string) (string, error) {
	g, err := user.LookupGroup(name)
	var missing user.UnknownGroupError
	switch {
	case errors.As(err, &missing):
		return "", fmt.Errorf("%w: there is no group %q", ErrNoSuchName, name)
	case err != nil:
		return "", fmt.Errorf("looking up group %q: %w", name, err)
	}
	return g.Gid, nil
}

func addSpan(to *[]span, rule string, unmapped uint32, value string) error {
	low, high, ranged := strings.Cut(value, "-")
	if !ranged {
		high = low
	}
	first, err1 := strconv.ParseUint(low, 10, 32)
	last, err2 := strconv.ParseUint(high, 10, 32)
	if err1 != nil || err2 != nil || first > last || last >= uint64(None) {
		return fmt.Errorf("caller %q: want a number such as 1000, or a range such as 1000-1999, below %d", rule, None)
	}
	if first == last && uint32(first) == unmapped {
		return &unmappedError{rule, unmapped}
	}
	*to = append(*to, span{uint32(first), uint32(last)})
	return nil
}

// Allows reports whether a rule of the set fits c. The rule "any" fits even a caller
// that could not be found out.
func (s Set) Allows(c Caller) bool {
	return s.any || in(s.uids, c.UID) || slices.ContainsFunc(c.GIDs, func(g uint32) bool { return in(s.gids, g) })
}

func in(spans []span, id uint32) bool {
	return slices.ContainsFunc(spans, func(s span) bool { return s.first <= id && id <= s.last })
}

// Any reports whether the set allows everybody.
func (s Set) Any() bool { return s.any }

// Groups reports whether the set has rules about groups: without them, the uid of a
// caller is all that Allows needs.
func (s Set) Groups() bool { return len(s.gids) > 0 }
