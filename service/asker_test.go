package service

import (
	"fmt"
	"os"
	"strconv"
	"testing"
)

func TestAReloadByTheDaemonsOwnUserIsOneBySystemctl(t *testing.T) {
	own, other := fmt.Sprintf("uid %d", os.Geteuid()), fmt.Sprintf("uid %d", os.Geteuid()+1)
	unit := map[string]string{"SYSTEMD_EXEC_PID": strconv.Itoa(os.Getpid())}
	want := "systemctl reload"
	if os.Geteuid() == 0 {
		want = own // so does everybody who uses sudo
	}
	for _, c := range []struct {
		env      map[string]string
		by, want string
	}{
		{unit, own, want},
		{unit, other, other},
		{nil, own, own},
		{map[string]string{"SYSTEMD_EXEC_PID": unit["SYSTEMD_EXEC_PID"], "XDG_RUNTIME_DIR": "/run/user/1"}, own, own},
	} {
		s := &Service{Options: Options{Getenv: func(k string) string { return c.env[k] }}}
		if got := s.asker(c.by); got != c.want {
			t.Errorf("%s with %v is %q, want %q", c.by, c.env, got, c.want)
		}
	}
}
