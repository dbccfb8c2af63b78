package service_test

import (
	"encoding/json"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"maps"
	"math"
	"os"
	"os/exec"
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
	d := p.daemon(t, p.upstream(t, tlstest.Echo()), "log.enabled=true", "log.directory="+filepath.Join(dir, "log"),
		"admin.address="+socket, `metrics.address="127.0.0.1:0"`, `metrics.callers="uid:1"`)
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

func readText(t *testing.T, path string) string {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// expressions returns the PromQL of all files, by where it stands.
func expressions(t *testing.T) map[string]string {
	t.Helper()
	all := map[string]string{}
	for _, a := range alertRules(t) {
		all["alert "+a.name] = a.expr
	}
	for i, text := range dashboardStrings(t, "expr", "definition") {
		if inner, ok := strings.CutPrefix(text, "label_values("); ok {
			text = inner[:strings.LastIndex(inner, ",")]
		}
		all[fmt.Sprintf("dashboard %d", i)] = text
	}
	_, queries, _ := strings.Cut(readText(t, metricsManual), "\n# QUERIES\n")
	queries, _, _ = strings.Cut(queries, "\n# ")
	for i, m := range regexp.MustCompile(`(?m)^ {4}\S.*\n(?: {5,}.*\n)*`).FindAllString(queries, -1) {
		all[fmt.Sprintf("manual %d", i)] = m
	}
	return all
}

type alertRule struct{ name, expr, text string }

var alertExpr = regexp.MustCompile(`(?m)^ {8}expr: (?:\|\n((?: {10}.*\n)+)|(.*)\n)`)

func alertRules(t *testing.T) (rules []alertRule) {
	t.Helper()
	for _, text := range strings.Split(readText(t, metricsAlerts), "- alert: ")[1:] {
		name, _, _ := strings.Cut(text, "\n")
		m := alertExpr.FindStringSubmatch(text)
		if m == nil {
			t.Fatalf("%s: no expression", name)
		}
		rules = append(rules, alertRule{name, m[1] + m[2], text})
	}
	return rules
}

// dashboardStrings returns all strings in the dashboard under these keys.
func dashboardStrings(t *testing.T, keys ...string) (found []string) {
	t.Helper()
	var walk func(string, any)
	walk = func(key string, v any) {
		switch v := v.(type) {
		case map[string]any:
			for _, k := range slices.Sorted(maps.Keys(v)) {
				walk(k, v[k])
			}
		case []any:
			for _, e := range v {
				walk("", e)
			}
		case string:
			if slices.Contains(keys, key) {
				found = append(found, v)
			}
		}
	}
	var dashboard any
	if err := json.Unmarshal([]byte(readText(t, metricsDashboard)), &dashboard); err != nil {
		t.Fatal(err)
	}
	walk("", dashboard)
	return found
}

var (
	promRange    = regexp.MustCompile(`\[[^\]]*\]|\b[0-9][0-9a-z.]*\b`)
	promGrouping = regexp.MustCompile(`\b(?:by|without|on|ignoring|group_left|group_right)\s*\(([^)]*)\)`)
	promSelector = regexp.MustCompile(`([a-zA-Z_:][a-zA-Z0-9_:]*)(\{[^}]*\}|\s*\()?`)
	promMatcher  = regexp.MustCompile(`([a-zA-Z_]\w*)\s*(?:=~|!~|!=|=)\s*"([^"]*)"`)
)

// Nothing is asked for that no daemon serves: no family, label or value of a label.
func TestExpressionsNameWhatIsServed(t *testing.T) {
	s := scrapeDaemon(t)
	labels := map[string][]string{"up": {"job", "instance"}, "ALERTS": {"alertname", "alertstate", "severity"}}
	values := map[string][]string{"class": classes(t), "fault": {"client", "upstream", "self"}}
	for _, m := range s.samples {
		for l, v := range m.labels {
			labels[m.name] = append(labels[m.name], l)
			values[l] = append(values[l], v)
		}
		labels[m.name] = append(labels[m.name], "job", "instance")
	}
	for where, expr := range expressions(t) {
		var grouped, known []string
		for _, m := range promGrouping.FindAllStringSubmatch(expr, -1) {
			grouped = append(grouped, strings.FieldsFunc(m[1], func(r rune) bool { return r == ',' || r == ' ' })...)
		}
		bare := promGrouping.ReplaceAllString(expr, "")
		selectors := 0
		for _, m := range promSelector.FindAllStringSubmatch(blankRanges(bare), -1) {
			if strings.HasSuffix(m[2], "(") || slices.Contains([]string{"and", "or", "unless", "offset", "bool"}, m[1]) {
				continue
			}
			selectors++
			has, served := labels[m[1]]
			if !served {
				t.Errorf("%s: no daemon serves %q", where, m[1])
			}
			known = append(known, has...)
			checkMatchers(t, where+": "+m[1], m[2], has, values)
		}
		if selectors == 0 {
			t.Errorf("%s: asks for nothing: %q", where, expr)
		}
		for _, l := range grouped {
			if !slices.Contains(known, l) {
				t.Errorf("%s: groups by %q, which nothing in it has", where, l)
			}
		}
	}
}

// blankRanges removes ranges and numbers, but for what stands in quotes.
func blankRanges(expr string) string {
	parts := strings.Split(expr, `"`)
	for i := 0; i < len(parts); i += 2 {
		parts[i] = promRange.ReplaceAllString(parts[i], "")
	}
	return strings.Join(parts, `"`)
}

// checkMatchers looks at the labels of a selector and, where there are but a few, their values.
func checkMatchers(t *testing.T, where, selector string, labels []string, values map[string][]string) {
	t.Helper()
	few := []string{"code", "class", "fault", "state", "phase", "level", "result", "resumed", "reason", "limit"}
	for _, m := range promMatcher.FindAllStringSubmatch(selector, -1) {
		if !slices.Contains(labels, m[1]) {
			t.Errorf("%s has no label %q", where, m[1])
		}
		if !slices.Contains(few, m[1]) {
			continue
		}
		for v := range strings.SplitSeq(m[2], "|") {
			if !slices.Contains(values[m[1]], v) {
				t.Errorf("%s: %s is never %q", where, m[1], v)
			}
		}
	}
}

func TestAlertsSayWhatToDo(t *testing.T) {
	severity := regexp.MustCompile(`labels: \{severity: (critical|warning|info)\}\n`)
	summary, runbook := regexp.MustCompile(`\n {10}summary: "\S.*"\n`), regexp.MustCompile(`\n {10}runbook: "\S.*[.?]"\n`)
	seen := map[string]bool{}
	for _, a := range alertRules(t) {
		if seen[a.name] || !severity.MatchString(a.text) || !summary.MatchString(a.text) || !runbook.MatchString(a.text) {
			t.Errorf("%s: twice, or without a severity, a summary, or a runbook that ends in a full stop", a.name)
		}
		seen[a.name] = true
	}
	for _, m := range regexp.MustCompile(`alertname: (\w+)`).FindAllStringSubmatch(readText(t, metricsTests), -1) {
		if !seen[m[1]] {
			t.Errorf("there are tests for %s, which is no alert", m[1])
		}
	}
}

// What the operator is told to run can be run.
func TestHintsNameCommandsThatExist(t *testing.T) {
	cli := readText(t, "../cmd/mtlsproxyctl/cli.go")
	used := 0
	for _, path := range []string{metricsManual, metricsDashboard, metricsAlerts, metricsTests} {
		for _, m := range regexp.MustCompile(`mtlsproxyctl ([a-z]+)`).FindAllStringSubmatch(readText(t, path), -1) {
			used++
			if !regexp.MustCompile(`(?mi)^\t` + m[1] + `\s+\w+Cmd\s`).MatchString(cli) {
				t.Errorf("%s: there is no command %q", path, m[1])
			}
		}
	}
	if used == 0 {
		t.Error("nothing names a command")
	}
}

func TestDashboardIsSound(t *testing.T) {
	var dashboard struct {
		Panels []struct {
			ID                       int
			Type, Title, Description string
			Datasource               struct{ UID string }
			GridPos                  struct{ X, Y, W, H int }
			Targets                  []struct{ Expr string }
		}
	}
	if err := json.Unmarshal([]byte(readText(t, metricsDashboard)), &dashboard); err != nil {
		t.Fatal(err)
	}
	ids, taken := map[int]bool{}, map[[2]int]string{}
	for _, p := range dashboard.Panels {
		if ids[p.ID] || p.ID == 0 || p.Title == "" {
			t.Errorf("panel %d, %q: no identity of its own", p.ID, p.Title)
		}
		ids[p.ID] = true
		for x := p.GridPos.X; x < p.GridPos.X+p.GridPos.W; x++ {
			for y := p.GridPos.Y; y < p.GridPos.Y+p.GridPos.H; y++ {
				if other, yes := taken[[2]int{x, y}]; yes || x >= 24 {
					t.Fatalf("%q stands where %q does, or past the edge", p.Title, other)
				}
				taken[[2]int{x, y}] = p.Title
			}
		}
		if p.Type != "row" && (p.Description == "" || p.Datasource.UID != "${datasource}" || len(p.Targets) == 0) {
			t.Errorf("%q lacks a description, the chosen data source, or a query", p.Title)
		}
	}
	if len(ids) == 0 {
		t.Error("it is empty")
	}
}

// Prometheus has the last word, where it is there to be asked.
func TestPromtoolIsContent(t *testing.T) {
	promtool, err := exec.LookPath("promtool")
	if err != nil {
		t.Skip("SKIP promtool is not installed; it comes with Prometheus")
	}
	run := func(stdin string, args ...string) {
		t.Helper()
		cmd := exec.CommandContext(t.Context(), promtool, args...)
		cmd.Stdin = strings.NewReader(stdin)
		if out, err := cmd.CombinedOutput(); err != nil || strings.Contains(string(out), "FAILED") {
			t.Errorf("promtool %s: %v\n%s", strings.Join(args, " "), err, out)
		}
	}
	var own strings.Builder // those of the library have no help
	for line := range strings.Lines(scrapeDaemon(t).text) {
		if strings.HasPrefix(line, "#") || strings.HasPrefix(line, "mtlsproxy_") {
			own.WriteString(line)
		}
	}
	run(own.String(), "check", "metrics")
	run("", "check", "config", "--syntax-only", metricsScrape)
	run("", "check", "rules", metricsAlerts)
	run("", "test", "rules", metricsTests)

	type rule struct {
		Record string `json:"record"`
		Expr   string `json:"expr"`
	}
	var rules []rule
	variables := strings.NewReplacer("$__rate_interval", "1m", "$__range", "1h", "$__interval", "1m")
	for where, expr := range expressions(t) {
		rules = append(rules, rule{"at:" + strings.ReplaceAll(where, " ", "_"), variables.Replace(expr)})
	}
	text, err := json.Marshal(map[string]any{"groups": []any{map[string]any{"name": "all", "rules": rules}}})
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "expressions.yml") // JSON is YAML
	tlstest.WriteFile(t, path, text, 0o600)
	run("", "check", "rules", path)
}
