package service

import (
	"errors"
	"strings"
	"syscall"
	"testing"
)

func TestASocketInAReadOnlyPlaceNamesTheWay(t *testing.T) {
	for name, want := range map[string]string{
		"http":    "ListenStream=/srv/x.sock in a drop-in of mtlsproxy.socket",
		"admin":   "ListenStream=/srv/x.sock in a drop-in of mtlsproxy-admin.socket",
		"billing": "in a socket unit with FileDescriptorName=billing and Service=mtlsproxy.service",
	} {
		err := explainSocket(syscall.EROFS, "/srv/x.sock", name)
		if !errors.Is(err, syscall.EROFS) || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), "who may not make a socket in /srv") {
			t.Errorf("got %v, want %q in it", err, want)
		}
	}
	for path, err := range map[string]error{"": syscall.EACCES, "/srv/x.sock": syscall.EADDRINUSE} {
		if got := explainSocket(err, path, "http"); got.Error() != err.Error() {
			t.Errorf("%v of %q became %v", err, path, got)
		}
	}
}
