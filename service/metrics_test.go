package service_test

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"maps"
	"math"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/mtlsproxy/mtlsproxy/service"
	"github.com/mtlsproxy/mtlsproxy/service/admin/api"
	"github.com/mtlsproxy/mtlsproxy/tlsclient/tlstest"
)

// What speaks of the metrics apart from the daemon.
const (
	metricsManual    = "../man/mtlsproxy-metrics.7.md"
	metricsDashboard = "../contrib/grafana/mtlsproxy.json"
	metricsAlerts    = "../contrib/prometheus/alerts.yml"
	metricsTests     = "../contrib/prometheus/alerts_test.yml"
	metricsScrape    = "../contrib/prometheus/scrape.yml"
)

// scraped is what a running daemon serves.
type scraped struct {
	text       string
	help, kind map[string]string // by family
	samples    []sample
}

type sample struct {
	name, series string // series: the name with its labels
	labels       map[string]string
	value        float64
}

// scrapeDaemon reads the metrics of a daemon after some exchanges, one of which has failed.
func scrapeDaemon(t *testing.T) *scraped {
	t.Helper()
	p := newPKI(t)
	dir := filepath.Dir(socketPath(t))
	socket := filepath.Join(dir, "admin.sock")
	p.files.WriteCRL(t, p.ca.CRL(t, tlstest.CRLOptions{}))
	d := p.daemon(t, p.upstream(t, tlstest.Echo()), "identity.default.crl="+p.files.CRL, "log.enabled=true", "log.directory="+filepath.Join(dir, "log"),
		"admin.address="+socket, `metrics.address="127.0.0.1:0"`, `metrics.callers="uid:1"`,
		"route.default.limit.rate=1000/s", "route.default.limit.per_caller=100", "route.default.limit.body=1MiB")
	c := d.dial()
	c.get("/")
	c.get("/")
	c.send("nonsense\r\n\r\n")
	c.final("GET")
	c.ended() // which its connection does after it was counted
	client := api.NewClient(socket)
	defer client.Close()
	var b strings.Builder
	if err := client.Metrics(t.Context(), &b); err != nil {
		t.Fatal(err)
	}
	return parseMetrics(t, b.String())
}

var (
	sampleLine = regexp.MustCompile(`^([a-zA-Z_:][a-zA-Z0-9_:]*)(?:\{(.*)\})? (\S+)$`)
	labelPair  = regexp.MustCompile(`^([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\]|\\["\\n])*)"(?:, ?|$)`)
)

// parseMetrics reads the Prometheus text format 0.0.4. It insists on more than the format does: a family's help, type
// and values follow each other with nothing between, unless it has neither help nor type, and no series comes twice.
func parseMetrics(t *testing.T, text string) *scraped {
	t.Helper()
	s := &scraped{text: text, help: map[string]string{}, kind: map[string]string{}}
	seen, family := map[string]bool{}, ""
	for n, line := range strings.Split(strings.TrimSuffix(text, "\n"), "\n") {
		if rest, ok := strings.CutPrefix(line, "# HELP "); ok {
			name, help, _ := strings.Cut(rest, " ")
			if _, twice := s.help[name]; twice {
				t.Errorf("line %d: %s is there twice", n+1, name)
			}
			s.help[name], family = help, name
			continue
		}
		if rest, ok := strings.CutPrefix(line, "# TYPE "); ok {
			name, kind, _ := strings.Cut(rest, " ")
			if name != family || s.kind[name] != "" {
				t.Errorf("line %d: the type of %s does not follow its help", n+1, name)
			}
			s.kind[name] = kind
			continue
		}
		m := parseSample(t, line)
		if strings.HasPrefix(m.name, "mtlsproxy_") && familyOf(m.name, s.kind) != family {
			t.Errorf("line %d: %s is not with its family", n+1, m.name)
		}
		if seen[m.series] {
			t.Errorf("line %d: %s is there twice", n+1, m.series)
		}
		seen[m.series] = true
		s.samples = append(s.samples, m)
	}
	return s
}

func parseSample(t *testing.T, line string) sample {
	t.Helper()
	m := sampleLine.FindStringSubmatch(line)
	if m == nil {
		t.Fatalf("not a line of the text format: %q", line)
	}
	value, err := strconv.ParseFloat(m[3], 64)
	if err != nil {
		t.Fatalf("%q: %v", line, err)
	}
	labels := map[string]string{}
	for rest := m[2]; rest != ""; {
		pair := labelPair.FindStringSubmatch(rest)
		if pair == nil {
			t.Fatalf("not labels: %q in %q", rest, line)
		}
		labels[pair[1]] = pair[2]
		rest = rest[len(pair[0]):]
	}
	return sample{m[1], fmt.Sprint(m[1], labels), labels, value}
}

// familyOf returns the family that a value of this name belongs to.
func familyOf(name string, kinds map[string]string) string {
	for _, suffix := range []string{"_bucket", "_sum", "_count"} {
		if base, ok := strings.CutSuffix(name, suffix); ok && kinds[base] == "histogram" {
			return base
		}
	}
	return name
}

// Prometheus, https://prometheus.io/docs/practices/naming/.
func TestMetricNamesFollowConventions(t *testing.T) {
	name, label := regexp.MustCompile(`^mtlsproxy(_[a-z]+)+$`), regexp.MustCompile(`^[a-z]+$`)
	for _, f := range service.Families() {
		unit := strings.TrimSuffix(f.Name, "_total")
		switch {
		case !name.MatchString(f.Name):
			t.Errorf("%s: spelling", f.Name)
		case (f.Type == "counter") != strings.HasSuffix(f.Name, "_total"):
			t.Errorf("%s: counters and nothing else end in _total", f.Name)
		case f.Type == "histogram" && !strings.HasSuffix(f.Name, "_seconds"):
			t.Errorf("%s: no unit", f.Name)
		case strings.Contains(unit, "bytes") && !strings.HasSuffix(unit, "_bytes"),
			strings.Contains(unit, "seconds") && !strings.HasSuffix(unit, "_seconds"),
			strings.Contains(unit, "timestamp") && !strings.HasSuffix(unit, "_timestamp_seconds"):
			t.Errorf("%s: the unit comes last", f.Name)
		case !slices.Contains([]string{"counter", "gauge", "histogram"}, f.Type):
			t.Errorf("%s: type %q", f.Name, f.Type)
		case !strings.HasSuffix(f.Help, ".") || strings.ContainsAny(f.Help, "\n\\"):
			t.Errorf("%s: help %q", f.Name, f.Help)
		}
		for _, l := range f.Labels {
			if !label.MatchString(l) || slices.Contains([]string{"le", "quantile", "job", "instance"}, l) {
				t.Errorf("%s: label %q", f.Name, l)
			}
		}
	}
}

func TestServedMetricsAreTheFamilies(t *testing.T) {
	s := scrapeDaemon(t)
	labels := map[string][]string{}
	for _, m := range s.samples {
		names := slices.DeleteFunc(slices.Sorted(maps.Keys(m.labels)), func(l string) bool { return l == "le" })
		family := familyOf(m.name, s.kind)
		if had, ok := labels[family]; ok && strings.HasPrefix(family, "mtlsproxy_") && !slices.Equal(had, names) {
			t.Errorf("%s: labels %v and %v", m.name, had, names)
		}
		labels[family] = names
	}
	for _, f := range service.Families() {
		got, served := labels[f.Name]
		if want := slices.Sorted(slices.Values(f.Labels)); !served || !slices.Equal(got, want) {
			t.Errorf("%s: labels %v, want %v", f.Name, got, want)
		}
		if s.help[f.Name] != f.Help || s.kind[f.Name] != f.Type {
			t.Errorf("%s: %q, %q", f.Name, s.kind[f.Name], s.help[f.Name])
		}
		delete(labels, f.Name)
	}
	for name := range labels {
		if !strings.HasPrefix(name, "go_") && !strings.HasPrefix(name, "process_") {
			t.Errorf("%s is served, and is in no table", name)
		}
	}
}

func TestServedHistogramsAreComplete(t *testing.T) {
	s := scrapeDaemon(t)
	type histogram struct{ bound, below, inf, count, sum float64 }
	all := map[string]*histogram{}
	for _, m := range s.samples {
		family := familyOf(m.name, s.kind)
		if s.kind[family] != "histogram" {
			continue
		}
		bound, bounded := m.labels["le"]
		delete(m.labels, "le")
		series := fmt.Sprint(family, m.labels)
		h := all[series]
		if h == nil {
			h = &histogram{bound: -1}
			all[series] = h
		}
		switch {
		case bounded:
			le, err := strconv.ParseFloat(bound, 64)
			if err != nil || le <= h.bound || m.value < h.below {
				t.Errorf("%s: bucket %s after %v, %v after %v", series, bound, h.bound, m.value, h.below)
			}
			h.bound, h.below = le, m.value
			if math.IsInf(le, 1) {
				h.inf = m.value
			}
		case strings.HasSuffix(m.name, "_count"):
			h.count = m.value
		default:
			h.sum = m.value
		}
	}
	used := 0
	for series, h := range all {
		if !math.IsInf(h.bound, 1) || h.inf != h.count || (h.sum > 0) != (h.count > 0) {
			t.Errorf("%s: %+v", series, *h)
		}
		if h.count > 0 {
			used++
		}
	}
	if used < 2 {
		t.Errorf("%d of %d histograms have counted anything", used, len(all))
	}
}

var (
	manualFamily = regexp.MustCompile(`(?m)^\*\*(mtlsproxy_\w+)\*\*(?:\{(.*)\})?, (\w+)\n:   ((?:.+\n)+)`)
	manualTerm   = regexp.MustCompile(`(?m)^\*\*(\w+)\*\*\n:   `)
)

func TestManualHasTheFamilies(t *testing.T) {
	entries := manualFamily.FindAllStringSubmatch(readText(t, metricsManual), -1)
	families := service.Families()
	if len(entries) != len(families) {
		t.Errorf("%d families in the manual, %d in the daemon", len(entries), len(families))
	}
	for _, f := range families {
		i := slices.IndexFunc(entries, func(e []string) bool { return e[1] == f.Name })
		if i < 0 {
			t.Errorf("%s is missing; it wants\n\n**%[1]s**{%s}, %s\n:   %s", f.Name, strings.Join(f.Labels, ","), f.Type, f.Help)
			continue
		}
		e := entries[i]
		if e[2] != strings.Join(f.Labels, ",") || e[3] != f.Type {
			t.Errorf("%s has {%s}, %s; want {%s}, %s", f.Name, e[2], e[3], strings.Join(f.Labels, ","), f.Type)
		}
		text := strings.ReplaceAll(strings.Join(strings.Fields(e[4]), " "), "**", "")
		if text != f.Help && !strings.HasPrefix(text, f.Help+" ") {
			t.Errorf("%s begins with %.80q, want %q", f.Name, text, f.Help)
		}
	}
}

func TestManualHasTheErrorClasses(t *testing.T) {
	var documented []string
	for _, m := range manualTerm.FindAllStringSubmatch(readText(t, metricsManual), -1) {
		documented = append(documented, m[1])
	}
	slices.Sort(documented)
	if want := classes(t); !slices.Equal(documented, want) {
		t.Errorf("the manual has %q,\nthe source %q", documented, want)
	}
}

// classes are the constants of the type tlsclient.Class.
func classes(t *testing.T) (all []string) {
	t.Helper()
	for _, path := range []string{"../tlsclient/errors.go", "proxy/answer.go"} {
		file, err := parser.ParseFile(token.NewFileSet(), path, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		ast.Inspect(file, func(n ast.Node) bool {
			c, ok := n.(*ast.ValueSpec)
			if !ok || len(c.Values) != 1 {
				return true
			}
			id, _ := c.Type.(*ast.Ident)
			if s, ok := c.Type.(*ast.SelectorExpr); ok {
				id = s.Sel
			}
			if text, ok := c.Values[0].(*ast.BasicLit); ok && id != nil && id.Name == "Class" {
				class, _ := strconv.Unquote(text.Value)
				all = append(all, class)
			}
			return true
		})
	}
	slices.Sort(all)
	return all
}

// Cardinality is a promise: whoever adds a label or a bucket sees here what it costs.
func TestManualCountsTheSeries(t *testing.T) {
	s := scrapeDaemon(t)
	var route, upstream, endpoint, identity int
	for _, m := range s.samples {
		switch {
		case m.name == "mtlsproxy_errors_total":
		case m.labels["route"] == "default":
			route++
		case m.labels["endpoint"] != "":
			endpoint++
		case m.labels["upstream"] == "default", m.labels["subject"] == "upstream default":
			upstream++
		case m.labels["identity"] == "default":
			identity++
		}
	}
	want := fmt.Sprintf("A route has %d series and one for each class it has met, an upstream %d, an endpoint %d and an identity %d.", route, upstream, endpoint, identity)
	if text := strings.Join(strings.Fields(readText(t, metricsManual)), " "); !strings.Contains(text, want) {
		t.Errorf("the manual lacks: %s", want)
	}
}
