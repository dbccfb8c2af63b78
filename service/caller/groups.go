package caller

import (
	"errors"
	"fmt"
	"os/user"
	"strconv"
)

// groups returns the groups of a user, the primary one first, as the user
// database has them now. A uid that is not in it has none.
func groups(uid uint32) ([]uint32, error) {
	u, err := user.LookupId(strconv.FormatUint(uint64(uid), 10))
	var missing user.UnknownUserIdError
	switch {
	case errors.As(err, &missing):
		return nil, nil
	case err != nil:
		return nil, fmt.Errorf("looking up uid %d in the user database: %w", uid, err)
	}
	names, err := u.GroupIds()
	if err != nil {
		return nil, fmt.Errorf("looking up the groups of %s (uid %d): %w", u.Username, uid, err)
	}
	var out []uint32
	for _, s := range append([]string{u.Gid}, names...) {
		gid, err := strconv.ParseUint(s, 10, 32)
		if err != nil {
			return nil, fmt.Errorf("looking up the groups of %s (uid %d): %q is not a number", u.Username, uid, s)
		}
		if len(out) == 0 || uint32(gid) != out[0] {
			out = append(out, uint32(gid))
		}
	}
	return out, nil
}
