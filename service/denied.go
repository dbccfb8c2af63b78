package service

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/user"
	"path/filepath"
	"syscall"

	"github.com/mtlsproxy/mtlsproxy/service/sd"
)

// explainSocket adds to an error of making a unix socket what to do about it. A directory
// such as /run/mtlsproxy is root's, and the sandbox may make others read-only: systemd
// makes a socket anywhere. name is that of the listener.
func explainSocket(err error, path, name string) error {
	if path == "" || !errors.Is(err, fs.ErrPermission) && !errors.Is(err, syscall.EROFS) {
		return err
	}
	who := fmt.Sprintf("uid %d", os.Geteuid())
	if u, err := user.Current(); err == nil {
		who = "user " + u.Username
	}
	var way string
	switch name {
	case sd.HTTP:
		way = "a drop-in of mtlsproxy.socket"
	case sd.Admin:
		way = "a drop-in of mtlsproxy-admin.socket"
	default:
		way = "a socket unit with FileDescriptorName=" + name + " and Service=mtlsproxy.service"
	}
	return fmt.Errorf("%w; this daemon runs as %s, who may not make a socket in %s: let systemd make it, with ListenStream=%s in %s, or choose a directory of their own", err, who, filepath.Dir(path), path, way)
}
