package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"os/user"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
	"unicode"

	"github.com/mtlsproxy/mtlsproxy/service"
	"github.com/mtlsproxy/mtlsproxy/service/config"
)

// checkFor finds out whether the unit can read what c names, beyond whoever runs this.
// Only root can look in its place; the notes say for whom was looked.
func (c *checkCmd) checkFor(w world, u *unit, conf *config.Config) (notes []string, err error) {
	if wrong := u.hides(conf); len(wrong) > 0 {
		return nil, wrongConfig(wrong)
	}
	them, err := u.credential()
	switch {
	case err != nil:
		return nil, fmt.Errorf("%s cannot run: %w", u.name, err)
	case int(them.Uid) == os.Geteuid():
		return []string{fmt.Sprintf("the files were read as user %s, as %s does", u.runsAs(), u.name)}, nil
	case os.Geteuid() != 0:
		return []string{fmt.Sprintf("the files were read as uid %d, but %s runs as user %s: mtlsproxyctl check asks the running daemon, and root may look in its place", os.Geteuid(), u.name, u.runsAs())}, nil
	}
	wrong, err := c.as(w, them)
	if errors.Is(err, fs.ErrNotExist) { // an image that nobody has booted has no /proc
		return []string{fmt.Sprintf("the files were read as root, not as user %s, as %s does: %v", u.user, u.name, err)}, nil
	}
	if err != nil {
		return nil, fmt.Errorf("looking as user %s, as %s does: %w", u.user, u.name, err)
	}
	for i := range wrong {
		wrong[i] = "as user " + u.user + " of " + u.name + ": " + printable(wrong[i])
	}
	if len(wrong) > 0 {
		return nil, wrongConfig(wrong)
	}
	return []string{fmt.Sprintf("the files were read as root, and as user %s, as %s does", u.user, u.name)}, nil
}

// notForStrangers takes back what err advises about files that may not be read, if neither
// root nor the user of the unit looks: what lets that one read them can keep the service
// from them.
func (u *unit) notForStrangers(err error) error {
	if err == nil || u == nil || os.Geteuid() == 0 {
		return err
	}
	if them, unknown := u.credential(); unknown == nil && int(them.Uid) == os.Geteuid() {
		return err
	}
	return withoutAdvice(err, u)
}

// withoutAdvice has one line in place of those about missing rights.
func withoutAdvice(err error, u *unit) error {
	lines := service.Lines(err)
	left := slices.DeleteFunc(slices.Clone(lines), func(line string) bool {
		return strings.Contains(line, fs.ErrPermission.Error()) || strings.Contains(line, syscall.EACCES.Error())
	})
	if len(left) == len(lines) {
		return err
	}
	return wrongConfig(append(left, fmt.Sprintf("uid %d may not read all that %s reads as user %s: run this as root, or ask the running daemon: mtlsproxyctl check", os.Geteuid(), u.name, u.runsAs())))
}

// wrongConfig is an error with lines of its own.
func wrongConfig(lines []string) error {
	errs := []error{service.ErrConfig}
	for _, line := range lines {
		errs = append(errs, errors.New(line))
	}
	return errors.Join(errs...)
}

// asTime is how long another process may look.
const asTime = 30 * time.Second

// as does the same check in a process with the rights of another user: the kernel knows
// best what they may read. It returns what is wrong.
func (c *checkCmd) as(w world, them *syscall.Credential) (wrong []string, err error) {
	ctx, cancel := context.WithTimeout(context.Background(), asTime)
	defer cancel()
	cmd := exec.CommandContext(ctx, "/proc/self/exe", c.again()...) //nolint:gosec // it is this very program
	cmd.Env = w.env
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: them}
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	ended := cmd.Run()
	if cmd.Process == nil {
		return nil, ended
	}
	var said checked
	if err := json.Unmarshal(stdout.Bytes(), &said); err != nil {
		return nil, errors.Join(ended, fmt.Errorf("no answer: %w", err), errors.New(strings.TrimSpace(stderr.String())))
	}
	if said.OK {
		return nil, nil
	}
	return said.Errors, nil
}

// again is this command as arguments.
func (c *checkCmd) again() []string {
	args := []string{"check", "--json", "--config=" + c.file()}
	for _, set := range c.Set {
		args = append(args, "--set="+set)
	}
	return args
}

// printable is text of a process that others could meddle with, for the terminal of root.
func printable(text string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsControl(r) {
			return '?'
		}
		return r
	}, text)
}

// runsAs names the user as whom the unit runs.
func (u *unit) runsAs() string {
	if u.user == "" {
		return "root"
	}
	return u.user
}

// credential is as whom the unit runs.
func (u *unit) credential() (*syscall.Credential, error) {
	who, err := user.Lookup(u.runsAs())
	if errors.As(err, new(user.UnknownUserError)) {
		who, err = user.LookupId(u.runsAs())
	}
	if err != nil {
		return nil, fmt.Errorf("its user: %w", err)
	}
	ids, err := who.GroupIds()
	if err != nil {
		return nil, fmt.Errorf("the groups of its user: %w", err)
	}
	main := who.Gid
	for _, g := range slices.Concat(u.groups, []string{u.group}) {
		if g == "" {
			continue
		}
		id, err := groupID(g)
		if err != nil {
			return nil, fmt.Errorf("its group: %w", err)
		}
		ids = append(ids, id)
		if g == u.group {
			main = id
		}
	}
	return credentialOf(who.Uid, main, ids)
}

func groupID(name string) (string, error) {
	g, err := user.LookupGroup(name)
	if errors.As(err, new(user.UnknownGroupError)) {
		g, err = user.LookupGroupId(name)
	}
	if err != nil {
		return "", err
	}
	return g.Gid, nil
}

func credentialOf(uid, gid string, groups []string) (*syscall.Credential, error) {
	var numbers []uint32
	for _, text := range slices.Concat([]string{uid, gid}, groups) {
		n, err := strconv.ParseUint(text, 10, 32)
		if err != nil {
			return nil, fmt.Errorf("no number of a user or group: %w", err)
		}
		numbers = append(numbers, uint32(n))
	}
	return &syscall.Credential{Uid: numbers[0], Gid: numbers[1], Groups: numbers[2:]}, nil
}
