package top

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	tea "charm.land/bubbletea/v2"
	"charm.land/lipgloss/v2"

	"github.com/mtlsproxy/mtlsproxy/cmd/mtlsproxyctl/prom"
	"github.com/mtlsproxy/mtlsproxy/cmd/mtlsproxyctl/text"
	"github.com/mtlsproxy/mtlsproxy/service/admin/api"
	"github.com/mtlsproxy/mtlsproxy/tlsclient/tlstest/leak"
)

func TestMain(m *testing.M) { leak.Main(m) }

var update = flag.Bool("update", false, "write the files in testdata anew")

func golden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("%s:\n%swant (go test -update writes it anew):\n%s", name, got, want)
	}
}

var noon = time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)

// daemon is a client whose daemon serves routes at rates.
type daemon struct {
	seconds int // since its start
	routes  []string
	state   string
	errors  []api.Record
	log     error
	down    error
	queries []api.Query
}

func (d *daemon) Status(context.Context) (api.Status, error) {
	s := api.Status{Version: api.Version{Version: "1.2.3"}, Phase: "running", Since: noon.Add(-2 * time.Hour), Health: api.Health{State: d.state}, Connections: 42, Log: api.LogStats{Enabled: true}}
	if d.state == api.Degraded {
		s.Health.Reasons = []api.Reason{{State: api.Degraded, Subject: `upstream "upstream-01"`, Message: "1 of 2 endpoints is not used"}}
	}
	for i, name := range d.routes {
		s.Routes = append(s.Routes, api.Route{Name: name})
		s.Upstreams = append(s.Upstreams, api.Upstream{Name: "up-" + name, Pool: api.Pool{Idle: i, Busy: 10 - i, Max: 64, Waiting: i % 2},
			Endpoints: []api.Endpoint{{State: api.EndpointUp}, {State: []string{api.EndpointShunned, api.EndpointUnknown}[i%2]}}})
	}
	s.Identities = []api.Identity{{Name: "default", Generation: 2, Subject: "CN=client", NotAfter: noon.Add(6*24*time.Hour + time.Hour)},
		{Name: "old", Generation: 1, Subject: "CN=old", NotAfter: noon.Add(-time.Hour)}, {Name: "spare", Error: "no such file"}}
	return s, d.down
}

func (d *daemon) Metrics(_ context.Context, w io.Writer) error {
	n := d.seconds
	for i, name := range d.routes {
		fmt.Fprintf(w, "mtlsproxy_requests_total{route=%q,upstream=%q,code=\"2xx\"} %d\n", name, "up-"+name, n*100*(i+1))
		fmt.Fprintf(w, "mtlsproxy_errors_total{route=%q} %d\n", name, n*(i%3))
		fmt.Fprintf(w, "mtlsproxy_response_bytes_total{route=%q} %d\n", name, n*4096*(i+1))
		for j, le := range []string{"0.01", "0.1", "+Inf"} {
			fmt.Fprintf(w, "mtlsproxy_request_duration_seconds_bucket{route=%q,le=%q} %d\n", name, le, n*[]int{50, 95, 100}[j])
		}
	}
	fmt.Fprintf(w, "process_cpu_seconds_total %g\nprocess_resident_memory_bytes 33554432\n", 0.5*float64(n))
	return d.down
}

func (d *daemon) Records(_ context.Context, q api.Query, each func(api.Record) error) error {
	d.queries = append(d.queries, q)
	for _, r := range d.errors {
		if !r.Time.Before(q.From) {
			if err := each(r); err != nil {
				return err
			}
		}
	}
	return d.log
}

// newModel makes a live screen of a daemon; each reading is one second after the last.
func newModel(d *daemon, width, height int) *Model {
	now := noon
	m := &Model{
		Source: &Source{Client: d, Now: func() time.Time {
			now = now.Add(time.Second)
			d.seconds++
			return now
		}},
		Screen: NewScreen(text.Page{}, 0, time.UTC), Context: context.Background(), Interval: time.Second, Timeout: time.Second,
		Explain: func(err error) string { return err.Error() },
		Tick:    func(time.Duration) tea.Cmd { return func() tea.Msg { return Ticked{} } },
	}
	send(m, m.Init()())
	send(m, tea.WindowSizeMsg{Width: width, Height: height})
	return m
}

// send passes a message on, as bubbletea does, and returns what came of it.
func send(m *Model, msg tea.Msg) tea.Msg {
	_, cmd := m.Update(msg)
	if cmd == nil {
		return nil
	}
	return cmd()
}

// second lets a second pass.
func second(m *Model) { send(m, send(m, Ticked{})) }

func press(m *Model, keys ...rune) (quit bool) {
	for _, k := range keys {
		key := tea.Key{Code: k}
		if k < 0x7f && k > ' ' {
			key.Text = string(k)
		}
		if _, ok := send(m, tea.KeyPressMsg(key)).(tea.QuitMsg); ok {
			return true
		}
	}
	return false
}

func view(m *Model) string { return m.View().Content }

func names3() []string { return []string{"route-a", "route-b", "route-c"} }

func TestScreens(t *testing.T) {
	for name, size := range map[string][2]int{"80x24": {80, 24}, "120x40": {120, 40}, "60x12": {60, 12}} {
		d := &daemon{routes: names3(), state: api.Degraded, errors: []api.Record{{Time: noon.Add(-time.Minute), ID: "1", Status: 502, Class: "connect_failed", Fault: "upstream", Route: "route-a", Method: "GET", Host: "a.local", Path: "/\x1b[2J"}}}
		m := newModel(d, size[0], size[1])
		second(m)
		golden(t, name+".txt", view(m))
	}
}

func TestItFitsEveryTerminal(t *testing.T) {
	d := &daemon{state: api.Degraded}
	for i := range 40 {
		d.routes = append(d.routes, fmt.Sprintf("a-route-with-a-long-name-%02d", i))
	}
	m := newModel(d, 80, 24)
	second(m)
	for width := 20; width <= 200; width += 17 {
		for height := 3; height <= 60; height += 5 {
			for range panes {
				press(m, tea.KeyTab)
				send(m, tea.WindowSizeMsg{Width: width, Height: height})
				got := strings.Split(strings.TrimSuffix(view(m), "\n"), "\n")
				if len(got) != height {
					t.Fatalf("%dx%d: %d lines:\n%s", width, height, len(got), view(m))
				}
				for _, line := range got {
					if w := lipgloss.Width(line); w > width {
						t.Fatalf("%dx%d: a line is %d wide: %q", width, height, w, line)
					}
				}
			}
		}
	}
}

// order returns the routes in the order in which they stand on the screen.
func order(m *Model) string {
	var out []string
	for line := range strings.Lines(view(m)) {
		if fields := strings.Fields(line); len(fields) > 0 && strings.HasPrefix(fields[0], "route-") {
			out = append(out, strings.TrimPrefix(fields[0], "route-"))
		}
	}
	return strings.Join(out, "")
}

func TestSorting(t *testing.T) {
	m := newModel(&daemon{routes: names3()}, 80, 24)
	second(m)
	f := func(want string, keys ...rune) {
		t.Helper()
		press(m, keys...)
		if got := order(m); got != want {
			t.Errorf("got %s, want %s:\n%s", got, want, view(m))
		}
	}
	f("cba")                          // by requests
	f("abc", tea.KeyLeft)             // by name
	f("abc", tea.KeyLeft)             // there is nothing further left
	f("cba", tea.KeyRight)            // by requests again
	f("cba", tea.KeyRight)            // by errors: 2, 1 and 0
	f("cba", tea.KeyTab, tea.KeyLeft) // another pane
	if !strings.Contains(view(m), "> UPSTREAM↓") {
		t.Errorf("the pane of the upstreams is not sorted by name:\n%s", view(m))
	}
	press(m, tea.KeyTab, tea.KeyTab, tea.KeyTab)
	for range 30 {
		press(m, tea.KeyRight)
	}
	f("cba") // by bytes out, the last column
}

func TestScrolling(t *testing.T) {
	m := newModel(&daemon{routes: strings.Fields("route-a route-b route-c route-d route-e route-f route-g route-h route-i route-j route-k route-l")}, 80, 20)
	second(m)
	if got := order(m); got != "lkj" {
		t.Fatalf("got %s:\n%s", got, view(m))
	}
	press(m, tea.KeyDown, tea.KeyDown)
	if got := order(m); got != "jih" {
		t.Errorf("got %s", got)
	}
	for range 50 {
		press(m, tea.KeyDown)
		view(m)
	}
	if got := order(m); got != "cba" {
		t.Errorf("got %s", got)
	}
	press(m, tea.KeyUp)
	if got := order(m); got != "dcb" {
		t.Errorf("got %s", got)
	}
}

func TestPause(t *testing.T) {
	d := &daemon{routes: names3()}
	m := newModel(d, 80, 24)
	second(m)
	press(m, 'p')
	before := view(m)
	if !strings.Contains(before, "paused 12:00:02") {
		t.Fatalf("it does not say so:\n%s", before)
	}
	d.routes = append(d.routes, "route-d")
	second(m)
	second(m)
	if got := view(m); got != before {
		t.Errorf("it moved:\n%s", got)
	}
	press(m, 'p')
	if got := view(m); strings.Contains(got, "paused") || !strings.Contains(got, "12:00:04") || order(m) != "dcba" {
		t.Errorf("it does not go on:\n%s", got)
	}
}

func TestHelpAndQuit(t *testing.T) {
	m := newModel(&daemon{routes: names3()}, 80, 24)
	press(m, '?')
	if view(m) != helpText {
		t.Errorf("got %s", view(m))
	}
	if press(m, tea.KeyEscape) || view(m) == helpText {
		t.Error("escape does not close the help alone")
	}
	for _, key := range []rune{'q', tea.KeyEscape} {
		if !press(m, key) {
			t.Errorf("%q does not quit", key)
		}
	}
	if _, ok := send(m, tea.KeyPressMsg(tea.Key{Code: 'c', Mod: tea.ModCtrl})).(tea.QuitMsg); !ok {
		t.Error("Ctrl-C does not quit")
	}
	for line := range strings.Lines(helpText) {
		if lipgloss.Width(line) > 80 || strings.Count(helpText, "\n") > 24 {
			t.Errorf("the help does not fit 80x24: %s", line)
		}
	}
}

func TestADaemonThatGoesAway(t *testing.T) {
	d := &daemon{routes: names3()}
	m := newModel(d, 80, 24)
	second(m)
	d.down = errors.New("no daemon answers on /run/mtlsproxy/admin.sock")
	second(m)
	if got := view(m); !strings.Contains(got, "\nno daemon answers on /run/mtlsproxy/admin.sock; trying again\n") || order(m) != "cba" {
		t.Errorf("it does not say so and keep what was:\n%s", got)
	}
	// It comes back as another process, and counts from zero.
	d.down, d.seconds = nil, 0
	second(m)
	if got := view(m); strings.Contains(got, "trying again") || !strings.Contains(got, "- req/s") {
		t.Errorf("rates of one reading are not known:\n%s", got)
	}
	second(m)
	if got := view(m); !strings.Contains(got, "600 req/s") {
		t.Errorf("got:\n%s", got)
	}

	// One that never was there.
	d.down = errors.New("no daemon answers")
	if got := view(newModel(d, 80, 24)); got != "no daemon answers; trying again" {
		t.Errorf("got %q", got)
	}
}

func TestCountersThatStartAnewBetweenTwoReadings(t *testing.T) {
	d := &daemon{routes: names3(), seconds: 1000}
	m := newModel(d, 80, 24)
	d.seconds = 2
	second(m)
	if f := m.frame; f.Total.Requests != 1200 || f.Total.P50 != 0.01 {
		t.Errorf("%+v", f.Total)
	}
}

func TestErrorsAreLookedForOnce(t *testing.T) {
	old := api.Record{Time: noon.Add(-time.Minute), ID: "old", Class: "internal"}
	d := &daemon{routes: names3(), errors: []api.Record{old}}
	m := newModel(d, 80, 24)
	fresh := api.Record{Time: noon.Add(500 * time.Millisecond), ID: "fresh", Class: "internal"}
	d.errors = []api.Record{fresh, old}
	second(m)
	second(m)
	if got := m.frame.Errors; len(got) != 2 || got[0].ID != "fresh" || got[1].ID != "old" {
		t.Errorf("%+v", got)
	}
	q := d.queries
	if len(q) != 3 || !q[0].From.Equal(noon.Add(time.Second-lookBack)) || !q[1].From.Equal(noon.Add(time.Second-logLag)) || q[1].Class != "any" || q[1].Limit != maxErrors {
		t.Errorf("%+v", q)
	}
}

func TestALogThatCannotBeRead(t *testing.T) {
	d := &daemon{routes: names3(), log: errors.New("a segment is\ndamaged")}
	m := newModel(d, 80, 24)
	second(m)
	if got := view(m); !strings.Contains(got, "a segment is damaged\n") || order(m) != "cba" {
		t.Errorf("got:\n%s", got)
	}
}

func TestRatesAreOfTheTimeBetweenTheReadings(t *testing.T) {
	reading := func(at time.Duration, n int) *Reading {
		s, err := prom.Parse(strings.NewReader(fmt.Sprintf("mtlsproxy_requests_total{route=\"a\"} %d\nmtlsproxy_upstream_retries_total{upstream=\"u\"} %d\n", n, 2*n)))
		if err != nil {
			t.Fatal(err)
		}
		return &Reading{Time: noon.Add(at), Metrics: s, Status: api.Status{Upstreams: []api.Upstream{{Name: "u"}}}}
	}
	f := Compare(reading(0, 100), reading(2500*time.Millisecond, 200))
	if f.Total.Requests != 40 || f.Routes[0].Requests != 40 || f.Upstreams[0].Retries != 80 || f.Over != 2.5 {
		t.Errorf("%+v", f)
	}
	if f := Compare(reading(0, 1), reading(0, 2)); !math.IsNaN(float64(f.Total.Requests)) {
		t.Errorf("no time has passed: %v", f.Total.Requests)
	}
}

func TestAFrameIsJSON(t *testing.T) {
	data, err := json.Marshal(Compare(nil, &Reading{Time: noon}))
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{`"over_seconds":null`, `"requests_per_second":null`, `"p99_seconds":null`, `"routes":[]`, `"last_errors":[]`} {
		if !strings.Contains(string(data), want) {
			t.Errorf("%s is missing in %s", want, data)
		}
	}
}
