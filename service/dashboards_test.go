package service_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/mtlsproxy/mtlsproxy/tlsclient/tlstest"
)

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
