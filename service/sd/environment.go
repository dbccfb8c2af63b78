package sd

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// UnderSystemd reports whether a systemd manager has started this very process. Its
// variables are inherited, by shells in a graphical session for example; the one that
// holds the pid tells (systemd 248 and later, systemd.exec(5)).
func UnderSystemd(getenv func(string) string) bool {
	if pid := getenv("SYSTEMD_EXEC_PID"); pid != "" {
		return pid == strconv.Itoa(os.Getpid())
	}
	return getenv("INVOCATION_ID") != "" || getenv("NOTIFY_SOCKET") != ""
}

// WatchdogInterval returns within which time the service manager wants to hear from
// this process, 0 if it does not watch it, as sd_watchdog_enabled(3) does. Ping at a
// third of it.
func WatchdogInterval(getenv func(string) string) (time.Duration, error) {
	text := getenv("WATCHDOG_USEC")
	if text == "" {
		return 0, nil
	}
	if pid := getenv("WATCHDOG_PID"); pid != "" && pid != strconv.Itoa(os.Getpid()) {
		return 0, nil
	}
	usec, err := strconv.ParseInt(text, 10, 64)
	if err != nil || usec <= 0 || usec > int64(time.Duration(1<<63-1)/time.Microsecond) {
		return 0, fmt.Errorf("WATCHDOG_USEC=%q is not a number of microseconds; the watchdog is not fed", text)
	}
	return time.Duration(usec) * time.Microsecond, nil
}

// CredentialsDirectory returns where systemd has put the service's credentials, ""
// if it has none. What is in it does not change before the next start, unless systemd
// is 260 or later and the unit asks for that.
func CredentialsDirectory(getenv func(string) string) string {
	return getenv("CREDENTIALS_DIRECTORY")
}

// InCredentials reports whether path leads into the credentials directory, by itself
// or through symbolic links.
func InCredentials(getenv func(string) string, path string) bool {
	dir := CredentialsDirectory(getenv)
	return dir != "" && (within(dir, path) || within(resolved(dir), resolved(path)))
}

// resolved is path without symbolic links, or path if it cannot be followed.
func resolved(path string) string {
	if real, err := filepath.EvalSymlinks(path); err == nil {
		return real
	}
	return path
}

func within(dir, path string) bool {
	rel, err := filepath.Rel(dir, path)
	return err == nil && rel != "." && rel != ".." && !strings.HasPrefix(rel, "../")
}
