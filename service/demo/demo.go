package demo

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"github.com/mtlsproxy/mtlsproxy/service"
	"github.com/mtlsproxy/mtlsproxy/service/config"
)

// ErrFailed says that something did not happen as it should; the output says what.
var ErrFailed = errors.New("the demonstration failed")

// defaultListen is where the daemon listens unless somebody else does.
const defaultListen = "127.0.0.1:8980"

// Options say how the demonstration runs.
type Options struct {
	Listen  string           // host:port; "" for 127.0.0.1:8980, or a free port if that is taken
	Once    bool             // end after the steps, without waiting for a signal
	Out     io.Writer        // what a person reads
	Log     *slog.Logger     // the daemon's own events
	Signals <-chan os.Signal // the first ends it, the second at once

	// Upstream replaces the one that tells what it sees, to find out whether the
	// steps notice. nil: the real one.
	Upstream http.Handler
}

// demo is one demonstration.
type demo struct {
	Options
	dir      string
	pki      *pki
	upstream *upstream
	service  *service.Service
	tcp      string // where the daemon listens
	unix     string
	print    printer
}

// Run makes everything, goes through the steps, waits for a signal unless Once
// is set, and takes everything down. The error is ErrFailed if a step failed.
func Run(o Options) (err error) {
	d := &demo{Options: o, print: printer{w: o.Out}}
	d.dir, err = os.MkdirTemp(tempDir(), "mtlsproxy-demo-")
	if err != nil {
		return fmt.Errorf("making a directory: %w", err)
	}
	defer func() { err = errors.Join(err, d.remove()) }()
	d.unix = filepath.Join(d.dir, "http.sock")
	if d.pki, err = makePKI(d.dir, time.Now()); err != nil {
		return err
	}
	if d.upstream, err = startUpstream(d.pki, o.Upstream, d.print.narrate); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, d.upstream.close()) }()
	if err := d.listen(); err != nil {
		return err
	}
	signals, ended := make(chan os.Signal, 2), make(chan error, 1)
	go func() { ended <- d.service.Run(signals, nil) }()
	return d.present(signals, ended)
}

// present shows the steps and then waits for the end. The service gets signals of
// its own, so that an early Ctrl-C does not make a step fail.
func (d *demo) present(signals chan<- os.Signal, ended <-chan error) error {
	d.introduce()
	failed := d.steps()
	if d.Once {
		signals <- syscall.SIGTERM
		return errors.Join(failed, <-ended)
	}
	d.invite()
	for {
		select {
		case err := <-ended:
			return errors.Join(failed, err)
		case sig := <-d.Signals:
			d.print.line("")
			d.print.line("%v: requests on their way may finish; once more cuts them off", sig)
			select {
			case signals <- sig:
			default: // it has two already
			}
		}
	}
}

// remove leaves nothing behind.
func (d *demo) remove() error {
	if err := os.RemoveAll(d.dir); err != nil {
		return fmt.Errorf("removing the directory: %w", err)
	}
	if !d.Once {
		d.print.line("removed %s", d.dir)
	}
	return nil
}

// listen builds the service and opens its listeners.
func (d *demo) listen() error {
	if d.Listen != "" {
		return d.listenOn(d.Listen)
	}
	err := d.listenOn(defaultListen)
	if errors.Is(err, syscall.EADDRINUSE) {
		d.print.line("%s is taken; using a free port", defaultListen)
		d.print.line("")
		return d.listenOn("127.0.0.1:0")
	}
	return err
}

func (d *demo) listenOn(address string) error {
	c, err := config.Load(d.config(address))
	if err != nil {
		return err
	}
	s, err := service.Build(service.Options{Config: c, Strict: true, Log: d.Log})
	if err != nil {
		return err
	}
	if err := s.Listen(); err != nil {
		s.Close()
		return err
	}
	for _, a := range s.Addresses() {
		if _, ok := a.(*net.TCPAddr); ok {
			d.tcp = a.String()
		}
	}
	d.service = s
	return nil
}

// config is what a command line would say; see introduce.
func (d *demo) config(address string) config.Options {
	return config.Options{
		One: &config.OneUpstream{
			Listen:   []string{address, d.unix},
			Upstream: "https://" + d.upstream.addr,
			Cert:     d.pki.cert, Key: d.pki.key, CA: d.pki.ca,
			ServerName: serverName,
		},
		Set: []string{
			routeHosts,
			`log.directory="` + filepath.Join(d.dir, "log") + `"`,
			`admin.address="` + filepath.Join(d.dir, "admin.sock") + `"`,
		},
	}
}

// routeHosts adds the upstream's name to the hosts that are routed, for those
// who use the daemon as a forward proxy.
const routeHosts = `route.default.host=["localhost", "127.0.0.1", "` + serverName + `"]`

// tempDir is os.TempDir, unless a unix socket's path would be too long there.
func tempDir() string {
	const room = 50 // of the 107 bytes, for the names of the directory and the socket
	if dir := os.TempDir(); len(dir) <= 107-room {
		return dir
	}
	return "/tmp"
}

// printer writes lines for a person. What fails to be written is lost: there is
// nobody else to tell.
type printer struct {
	mu   sync.Mutex
	w    io.Writer
	live bool // requests are told of as they come
}

func (p *printer) line(format string, args ...any) {
	p.mu.Lock()
	defer p.mu.Unlock()
	fmt.Fprintf(p.w, format+"\n", args...)
}

// narrate prints what happens while nobody else talks.
func (p *printer) narrate(text string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.live {
		fmt.Fprintln(p.w, time.Now().Format(time.TimeOnly), text)
	}
}

func (p *printer) goLive() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.live = true
}
