package service

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/mtlsproxy/mtlsproxy/service/admin"
	"github.com/mtlsproxy/mtlsproxy/service/admin/api"
	"github.com/mtlsproxy/mtlsproxy/service/caller"
	"github.com/mtlsproxy/mtlsproxy/service/config"
	"github.com/mtlsproxy/mtlsproxy/service/sd"
)

// access is who may do what on the admin socket and read the metrics on TCP, and which
// rules about it, or about routes, make no difference.
type access struct {
	admin   admin.Access
	metrics admin.MetricsAccess
	unknown []error // rules that name nobody who exists
}

// adminGroup is the group that operates by default. It comes with the package; who
// runs the daemon without it misses nothing.
const adminGroup = "group:mtlsproxy-admin"

// settleAccess looks up users and groups, and reads the metrics' token.
func (s *Service) settleAccess(c *config.Config) (access, error) {
	var a access
	var errs []error
	set := func(key string, rules []string) caller.Set {
		if slices.Equal(rules, []string{adminGroup}) {
			allowed, _ := caller.NewSet(rules) // without the group, it is empty
			return allowed
		}
		allowed, err := a.resolve(key, rules)
		errs = append(errs, err)
		return allowed
	}
	a.admin.Read = set("[admin] read", c.Admin.Read)
	a.admin.Operate = set("[admin] operate", c.Admin.Operate)
	a.metrics.Callers = set("[metrics] callers", c.Metrics.Callers)
	if c.Metrics.TokenFile != "" {
		token, err := admin.ReadToken(c.Metrics.TokenFile)
		if err != nil {
			errs = append(errs, fmt.Errorf("[metrics] token_file: %w", err))
		}
		a.metrics.Token = token
	}
	return a, errors.Join(errs...)
}

// settleCallers looks up the users and groups that may use routes. A rule that names
// nobody lets nobody in.
func (a *access) settleCallers(c *config.Config) ([]caller.Set, error) {
	var errs []error
	sets := make([]caller.Set, len(c.Routes))
	for i := range c.Routes {
		r := &c.Routes[i]
		allowed, err := a.resolve("[route."+r.Name+"] callers", r.Callers)
		sets[i], errs = allowed, append(errs, err)
	}
	return sets, errors.Join(errs...)
}

// resolve looks up the users and groups of the rules of a key, and remembers those that
// do not exist.
func (a *access) resolve(key string, rules []string) (caller.Set, error) {
	allowed, err := caller.NewSet(rules)
	var errs []error
	for _, e := range each(err) {
		e = fmt.Errorf("%s: %w", key, e)
		if errors.Is(e, caller.ErrNoSuchName) {
			a.unknown = append(a.unknown, e)
			continue
		}
		errs = append(errs, e)
	}
	return allowed, errors.Join(errs...)
}

// forNobody is what a rule does that names nobody who exists.
const forNobody = "a rule names nobody who exists, so it lets nobody in"

// notes tells of the rules that name nobody who exists. That is no mistake in the
// configuration: the users may come later.
func (a *access) notes() []string {
	var out []string
	for _, err := range a.unknown {
		out = append(out, forNobody+": "+err.Error())
	}
	return out
}

// Notes tells what of the configuration makes no difference, though nothing is wrong
// with it.
func (s *Service) Notes() []string { return s.world.Load().access.notes() }

// each takes errors apart that were joined.
func each(err error) []error {
	if err == nil {
		return nil
	}
	if all, ok := err.(interface{ Unwrap() []error }); ok {
		return all.Unwrap()
	}
	return []error{err}
}

// grant makes a what holds from now on.
func (s *Service) grant(a access) {
	for _, err := range a.unknown {
		s.Log.Warn(forNobody, "event", "rule_unknown", "error", err)
	}
	s.admin.Use(a.admin)
	s.metrics.Use(a.metrics)
}

// operatorListener is the admin socket, or an address of the metrics.
type operatorListener struct {
	net.Listener
	key     string
	metrics bool
}

// adminSocket returns where c wants the admin socket to be.
func (s *Service) adminSocket(c *config.Config) (path string, wanted bool) {
	switch c.Admin.Address {
	case config.AdminNone:
		return "", false
	case "":
		return api.Sockets(os.Geteuid(), s.Getenv)[0], true
	}
	return c.Admin.Address, true
}

// listenOperator opens the admin socket and the addresses of the metrics, unless
// old has them.
func (s *Service) listenOperator(w, old *world) error {
	var errs []error
	if s.takeAdmin(w, old) {
		// The service manager has it.
	} else if path, wanted := s.adminSocket(w.config); wanted {
		l, err := s.openAdmin(old, path, &w.config.Admin)
		switch {
		case err == nil:
			w.operator = append(w.operator, l)
		case w.config.Admin.Address != "":
			errs = append(errs, fmt.Errorf("[admin] address: %w", err))
		default: // nobody asked for this place
			w.unreachable = err
		}
	}
	for _, a := range w.config.Metrics.Addresses {
		l, err := openMetrics(old, a)
		if err != nil {
			errs = append(errs, fmt.Errorf("[metrics] address: %w", err))
			continue
		}
		w.operator = append(w.operator, l)
	}
	return errors.Join(errs...)
}

// takeAdmin gives w the admin sockets that were passed to the process, and reports
// whether there are any.
func (s *Service) takeAdmin(w, old *world) (any bool) {
	for i, socket := range s.Passed.Listeners {
		if socket.Name != sd.Admin {
			continue
		}
		key := fmt.Sprintf("passed admin#%d", i)
		l := old.operating(key)
		if l == nil {
			l = &operatorListener{Listener: socket.Listener, key: key}
		}
		w.operator = append(w.operator, l)
		any = true
	}
	return any
}

func (s *Service) openAdmin(old *world, path string, c *config.Admin) (*operatorListener, error) {
	key := "unix:" + path
	if l := old.operating(key); l != nil && inPlace(l.Listener) {
		return l, nil
	}
	// The directory lets everybody pass and nobody but us change it; a user's runtime
	// directory is closed to others already.
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil { //nolint:gosec // the socket has a mode of its own
		return nil, explainSocket(err, path, sd.Admin)
	}
	l, err := openUnix(path, c.Mode, adminGroupOf(c))
	if err != nil {
		return nil, explainSocket(err, path, sd.Admin)
	}
	return &operatorListener{Listener: l, key: key}, nil
}

// adminGroupOf is the first group that may operate, or look: it is to own the socket,
// whose mode would keep its members out otherwise.
func adminGroupOf(c *config.Admin) int {
	for _, rule := range slices.Concat(c.Operate, c.Read) {
		if name, ok := strings.CutPrefix(rule, "group:"); ok {
			if g, err := user.LookupGroup(name); err == nil {
				if id, err := strconv.Atoi(g.Gid); err == nil {
					return id
				}
			}
		}
	}
	return sameGroup
}

func openMetrics(old *world, a config.Address) (*operatorListener, error) {
	key := a.String()
	if l := old.operating(key); l != nil {
		return l, nil
	}
	l, err := open(a, 0)
	if err != nil {
		return nil, err
	}
	return &operatorListener{Listener: l, key: key, metrics: true}, nil
}

func (w *world) operating(key string) *operatorListener {
	i := slices.IndexFunc(w.operator, func(l *operatorListener) bool { return l.key == key })
	if i < 0 {
		return nil
	}
	return w.operator[i]
}

// serveOperator answers on what is new in w, and closes what of old is not in it.
func (s *Service) serveOperator(w, old *world) {
	if w.unreachable != nil {
		s.Log.Warn("there is no admin socket; [admin] address can name another place for it, or say \"none\"", "event", "degraded", "error", w.unreachable)
	}
	for _, l := range w.operator {
		if slices.Contains(old.operator, l) {
			s.keepMode(l, w.config.Admin.Mode)
			continue
		}
		serve := s.admin.Serve
		if l.metrics {
			serve = s.metrics.Serve
		}
		s.serving.Go(func() {
			if err := serve(l); err != nil && !errors.Is(err, net.ErrClosed) {
				s.Log.Error("serving the operator failed; restart the daemon to try again", "event", "operator_failed", "address", l.Addr().String(), "error", err)
			}
		})
	}
	for _, l := range old.operator {
		if !slices.Contains(w.operator, l) {
			_ = l.Close() // its accept loop sees it
		}
	}
}

// keepMode gives the admin socket the mode it should have.
func (s *Service) keepMode(l *operatorListener, mode fs.FileMode) {
	u, ok := l.Listener.(*unixListener)
	if !ok {
		return
	}
	if err := u.setMode(mode, func(_, want fs.FileMode) fs.FileMode { return want }); err != nil {
		s.Log.Warn("changing the mode of the admin socket failed", "event", "mode_failed", "error", err)
	}
}

// stopOperating ends the admin API. It comes last, so that a drain can be watched.
func (s *Service) stopOperating() {
	s.admin.Close()
	s.metrics.Close()
}

func (s *Service) newAdmin() *admin.Server {
	return admin.New(admin.Options{Backend: backend{s}, Log: s.Log, Who: s.diag.Of})
}

func (s *Service) newMetrics() *admin.MetricsServer {
	return admin.NewMetrics(admin.MetricsOptions{Metrics: s.writeMetrics, Log: s.Log, Who: s.diag.Of})
}

// AdminSocket returns the path of the admin socket once Listen has returned, or "".
func (s *Service) AdminSocket() string {
	for _, l := range s.world.Load().operator {
		if !l.metrics {
			return l.Addr().String()
		}
	}
	return ""
}
