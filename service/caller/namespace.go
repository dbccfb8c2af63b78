package caller

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
)

// ErrUnmapped says that a number stands for everybody whom the daemon's user
// namespace does not map, user_namespaces(7), and so for nobody in particular.
var ErrUnmapped = errors.New("the daemon's user namespace does not map who that is")

// namespace is what the numbers of our user namespace do not tell: the kernel gives
// all users that it does not map one and the same uid, and their groups one and the
// same gid. They are None where every number is mapped, as outside of containers.
type namespace struct{ uid, gid uint32 }

// kernelFiles is where the kernel tells of our user namespace.
const kernelFiles = "/proc"

// usualOverflow is the number of what is not mapped unless a sysctl says otherwise.
const usualOverflow = 65534

// everyNumber is how many numbers there are, None left out.
const everyNumber = uint64(None)

// namespaceIn reads proc, which is kernelFiles. What cannot be read counts as not
// mapped: a caller too few is better than anybody.
func namespaceIn(proc string) namespace {
	return namespace{uid: overflow(proc, "uid"), gid: overflow(proc, "gid")}
}

func overflow(proc, kind string) uint32 {
	if m, err := os.ReadFile(proc + "/self/" + kind + "_map"); err == nil && mapsAll(string(m)) {
		return None
	}
	b, err := os.ReadFile(proc + "/sys/kernel/overflow" + kind)
	if err != nil { // as in some sandboxes
		return usualOverflow
	}
	n, err := strconv.ParseUint(strings.TrimSpace(string(b)), 10, 32)
	if err != nil {
		return usualOverflow
	}
	return uint32(n)
}

// mapsAll reports whether a map leaves out no number. Its lines are ranges that do
// not overlap: the first number inside, the first outside, and how many.
func mapsAll(m string) bool {
	var n uint64
	for line := range strings.Lines(m) {
		f := strings.Fields(line)
		if len(f) != 3 {
			return false
		}
		count, err := strconv.ParseUint(f[2], 10, 32)
		if err != nil {
			return false
		}
		n += count
	}
	return n == everyNumber
}

// user returns uid, unless it may be anybody's.
func (n namespace) user(uid uint32) (uint32, error) {
	if uid != None && uid == n.uid {
		return None, fmt.Errorf("the caller has uid %d: %w; run the daemon outside of the namespace, or map the user in it", uid, ErrUnmapped)
	}
	return uid, nil
}

// groups drops what may be any group.
func (n namespace) groups(gids []uint32) []uint32 {
	return slices.DeleteFunc(gids, func(g uint32) bool { return g == n.gid })
}

// unmappedError is what NewSet says of a rule that fits only what is not mapped.
type unmappedError struct {
	rule   string
	number uint32
}

// Error implements error.
func (e *unmappedError) Error() string {
	return fmt.Sprintf("caller %q lets nobody in: here %d stands for everybody whom the daemon's user namespace does not map; run the daemon outside of the namespace, or map the user or group in it to another number",
		e.rule, e.number)
}

// Is marks it: such a rule names nobody.
func (*unmappedError) Is(target error) bool { return target == ErrUnmapped || target == ErrNoSuchName }
