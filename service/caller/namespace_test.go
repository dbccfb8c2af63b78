package caller

import (
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
)

const (
	everyoneMapped = "         0          0 4294967295\n"
	rootMapped     = "0 0 1\n"
)

// proc is a directory that tells of a user namespace. What is empty is not there.
func proc(t *testing.T, uidMap, gidMap, overflow string) string {
	t.Helper()
	dir := t.TempDir()
	for name, content := range map[string]string{
		"self/uid_map": uidMap, "self/gid_map": gidMap, "sys/kernel/overflowuid": overflow, "sys/kernel/overflowgid": overflow,
	} {
		if content == "" {
			continue
		}
		path := filepath.Join(dir, name)
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o700), os.WriteFile(path, []byte(content), 0o600)); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func TestTheOverflowNumberIsAmbiguousUnlessEveryNumberIsMapped(t *testing.T) {
	for name, c := range map[string]struct {
		uidMap, overflow string
		want             uint32
	}{
		"outside of containers":      {everyoneMapped, "65534\n", None},
		"all, in several ranges":     {"0 1000 1\n1 1 999\n1000 0 1\n1001 1001 4294966294\n", "65534\n", None},
		"root alone":                 {rootMapped, "65534\n", 65534},
		"a container":                {"0 100000 65536\n", "65534\n", 65534},
		"systemd's identity mapping": {"0 0 65536\n", "65534\n", 65534},
		"all but one":                {"0 0 4294967294\n", "65534\n", 65534},
		"another overflow number":    {rootMapped, "99\n", 99},
		"overflow number unreadable": {rootMapped, "", 65534},
		"overflow number strange":    {rootMapped, "x\n", 65534},
		"map unreadable":             {"", "65534\n", 65534},
		"map not written yet":        {"\n", "65534\n", 65534},
		"map strange":                {"0 0 x\n", "65534\n", 65534},
	} {
		t.Run(name, func(t *testing.T) {
			if got, want := namespaceIn(proc(t, c.uidMap, everyoneMapped, c.overflow)), (namespace{c.want, None}); got != want {
				t.Errorf("got %+v, want %+v", got, want)
			}
			if got, want := namespaceIn(proc(t, everyoneMapped, c.uidMap, c.overflow)), (namespace{None, c.want}); got != want {
				t.Errorf("groups: got %+v, want %+v", got, want)
			}
		})
	}
}

func TestACallerWithTheOverflowUIDIsUnknown(t *testing.T) {
	us := fmt.Sprint(os.Geteuid())
	local, _ := unixPair(t)
	tcp, _ := pair(t, "tcp4", "127.0.0.1:0")
	for _, c := range []net.Conn{local, tcp} {
		d := Diag{proc: proc(t, rootMapped, everyoneMapped, us)}
		defer d.Close()
		if who, err := d.Of(c); !errors.Is(err, ErrUnmapped) || who.UID != None || len(who.GIDs) != 0 || !strings.Contains(err.Error(), "uid "+us) {
			t.Errorf("%s: got %+v, %v; want ErrUnmapped and nobody", c.LocalAddr().Network(), who, err)
		}
		if uid, err := d.UID(c); !errors.Is(err, ErrUnmapped) || uid != None {
			t.Errorf("%s: UID: got %d, %v; want ErrUnmapped and nobody", c.LocalAddr().Network(), uid, err)
		}
	}
}

func TestTheOverflowGroupIsLeftOut(t *testing.T) {
	d := Diag{proc: proc(t, everyoneMapped, rootMapped, fmt.Sprint(os.Getegid()))}
	defer d.Close()
	near, _ := unixPair(t)
	who, err := d.Of(near)
	if err != nil || int(who.UID) != os.Geteuid() || slices.Contains(who.GIDs, uint32(os.Getegid())) {
		t.Errorf("got %+v, %v; want uid %d without group %d", who, err, os.Geteuid(), os.Getegid())
	}
}

func TestNewSetReportsRulesThatFitOnlyWhatIsNotMapped(t *testing.T) {
	n := namespace{uid: 65534, gid: 65533}
	for rule, wrong := range map[string]bool{
		"uid:65534": true, "uid:65534-65534": true, "gid:65533": true,
		"uid:65533": false, "gid:65534": false, "uid:0-65534": false, "gid:65533-70000": false, "any": false,
	} {
		s, err := newSet([]string{"uid:7", rule}, n)
		if got := errors.Is(err, ErrUnmapped); got != wrong || errors.Is(err, ErrNoSuchName) != wrong {
			t.Errorf("%s: %v", rule, err)
		}
		if wrong && (!strings.Contains(err.Error(), rule) || s.Allows(Caller{UID: 65534, GIDs: []uint32{65533}})) {
			t.Errorf("%s: %v, and it lets in what is not mapped: %v", rule, err, s)
		}
		if !s.Allows(Caller{UID: 7}) {
			t.Errorf("%s: the other rule does not work", rule)
		}
	}
	if _, err := newSet([]string{"uid:65534", "gid:65534"}, namespace{None, None}); err != nil {
		t.Errorf("where every number is mapped: %v", err)
	}
}

func TestNewSetReportsANameThatHasTheOverflowNumber(t *testing.T) {
	if _, err := newSet([]string{"user:root"}, namespace{0, None}); !errors.Is(err, ErrUnmapped) || !strings.Contains(err.Error(), "user:root") {
		t.Error(err)
	}
	if _, err := newSet([]string{"group:root"}, namespace{None, 0}); !errors.Is(err, ErrUnmapped) {
		t.Error(err)
	}
}

// listenVariable holds the abstract socket that a child of the test listens on, for
// two callers, to say who they are.
const listenVariable = "CALLER_TEST_LISTEN"

// seen is what such a child says of a caller.
type seen struct {
	UID, Plain uint32
	GIDs       []uint32
	Unmapped   bool
	Allowed    bool // by a rule that names the overflow uid
	Reported   bool // that rule
}

func listenAndTell(address string) int {
	l, err := net.Listen("unix", address)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer l.Close()
	fmt.Println("listening")
	rules, wrong := NewSet([]string{fmt.Sprint("uid:", usualOverflow)})
	for range 2 {
		c, err := l.Accept()
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		who, err := Of(c)
		plain, _ := new(Diag).UID(c)
		_ = json.NewEncoder(os.Stdout).Encode(seen{who.UID, plain, who.GIDs, errors.Is(err, ErrUnmapped), rules.Allows(who), errors.Is(wrong, ErrUnmapped)})
		c.Close()
	}
	return 0
}

// A process in a user namespace that maps root alone, as unshare -Ur makes it.
func TestInAUserNamespaceOnlyThoseItMapsAreKnown(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("SKIP: only root can start a process as another user")
	}
	address := fmt.Sprintf("@caller-namespace-%d", os.Getpid())
	cmd := exec.CommandContext(t.Context(), "/proc/self/exe")
	cmd.Env = []string{listenVariable + "=" + address}
	cmd.Stderr = os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags:  syscall.CLONE_NEWUSER,
		UidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: 0, Size: 1}},
		GidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: 0, Size: 1}},
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Skipf("SKIP user namespaces are not to be had here: %v", err)
	}
	defer func() { _ = cmd.Process.Kill(); _ = cmd.Wait() }()
	var line string
	if _, err := fmt.Fscanln(out, &line); err != nil || line != "listening" {
		t.Fatalf("%q, %v", line, err)
	}
	answers := json.NewDecoder(out)
	next := func() (s seen) {
		t.Helper()
		if err := answers.Decode(&s); err != nil {
			t.Fatal(err)
		}
		return s
	}
	dialler := exec.CommandContext(t.Context(), "/proc/self/exe")
	dialler.Env = []string{dialVariable + "=unix " + address}
	dialler.Dir, dialler.Stderr = "/", os.Stderr
	dialler.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 1234, Gid: 1234}}
	if out, err := dialler.Output(); err != nil { // its standard input is at its end: it connects and goes
		t.Fatal(string(out), err)
	}
	if s := next(); s.UID != None || s.Plain != None || len(s.GIDs) != 0 || !s.Unmapped || s.Allowed || !s.Reported {
		t.Errorf("uid 1234, which is not mapped: %+v", s)
	}
	c, err := net.Dial("unix", address)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if s := next(); s.UID != 0 || s.Plain != 0 || s.Unmapped || s.Allowed || slices.Contains(s.GIDs, usualOverflow) {
		t.Errorf("root, which is mapped: %+v", s)
	}
}
