package main

import (
	"encoding/csv"
	"errors"
	"io"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/mtlsproxy/mtlsproxy/service/admin/api"
)

func TestExportFormats(t *testing.T) {
	d := newDaemon(t)
	for _, format := range []string{"ndjson", "csv", "clf"} {
		r := host{socket: d.socket}.execute(t, "log", "export", "--format", format)
		r.want(t, result{stdout: r.stdout})
		golden(t, "export."+format, r.stdout)
	}
}

func TestCSVIsReadBackAsItWas(t *testing.T) {
	d := newDaemon(t)
	strange := cannedRecords()[0]
	strange.Path, strange.Host, strange.ID = "/a,b\"c\nd\re\r\nf", "-1+2", "@SUM(A1)"
	d.says("GET /v1/log/records", lines([]api.Record{strange}))
	r := host{socket: d.socket}.execute(t, "log", "export", "--format", "csv")
	if !strings.Contains(r.stdout, "\r\n") || strings.Count(r.stdout, `"/a,b""c`+"\nd\re\r\nf\"") != 1 {
		t.Errorf("not as RFC 4180 has it: %q", r.stdout)
	}
	// The reader of encoding/csv takes a CRLF within a field for a LF.
	rows, err := csv.NewReader(strings.NewReader(r.stdout)).ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	if len(rows) != 2 || len(rows[0]) != 24 || len(rows[1]) != 24 {
		t.Fatalf("%q", rows)
	}
	got := map[string]string{}
	for i, name := range rows[0] {
		got[name] = rows[1][i]
	}
	for name, want := range map[string]string{"path": "/a,b\"c\nd\re\nf", "host": "'-1+2", "id": "'@SUM(A1)", "caller": "1000", "queue_seconds": "0.000012", "reused": "true"} {
		if got[name] != want {
			t.Errorf("%s is %q, want %q", name, got[name], want)
		}
	}
}

func TestCSVField(t *testing.T) {
	for in, want := range map[string]string{
		"": "", "a": "a", "a b": "a b", "a,b": `"a,b"`, `say "x"`: `"say ""x"""`, "a\nb": "\"a\nb\"", "a\rb": "\"a\rb\"",
		"=1": "'=1", "+1": "'+1", "-1": "'-1", "@a": "'@a", "\ta": "'\ta", "\ra": "\"'\ra\"", "=a,b": `"'=a,b"`, "'=a": "'=a", "/=a": "/=a",
	} {
		if got := csvField(in); got != want {
			t.Errorf("%q became %q, want %q", in, got, want)
		}
	}
}

func TestCLFEscapesAsApacheDoes(t *testing.T) {
	for in, want := range map[string]string{
		"/a b": "/a b", `"`: `\"`, `\`: `\\`, "\n\r\t\v\b": `\n\r\t\v\b`, "\f": `\x0c`, "\x00\x1b\x7f": `\x00\x1b\x7f`, "é": `\xc3\xa9`,
	} {
		if got := clfEscape(in); got != want {
			t.Errorf("%q became %q, want %q", in, got, want)
		}
	}
}

// left lists what is in a directory.
func left(t *testing.T, dir string) string {
	t.Helper()
	list, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, e := range list {
		names = append(names, e.Name())
	}
	return strings.Join(names, " ")
}

func TestExportIntoAFile(t *testing.T) {
	d := newDaemon(t)
	dir := t.TempDir()
	file := filepath.Join(dir, "requests.ndjson")
	host{socket: d.socket}.execute(t, "log", "export", "-o", file).want(t, result{stderr: "3 records in " + file + "\n"})
	host{socket: d.socket}.execute(t, "log", "export", "-o", file, "--json", "--format", "csv").want(t, result{stdout: `{"records":3,"file":"` + file + `"}` + "\n"})
	info, err := os.Stat(file)
	if err != nil || info.Mode().Perm() != 0o600 || left(t, dir) != "requests.ndjson" {
		t.Errorf("%v %v: %s", info, err, left(t, dir))
	}
}

func TestAnExportThatFailsLeavesWhatWas(t *testing.T) {
	d := newDaemon(t)
	record, err := lineJSON(cannedRecords()[0])
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	file := filepath.Join(dir, "requests.ndjson")
	for _, before := range []string{"", "what was\n"} {
		if before != "" {
			if err := os.WriteFile(file, []byte(before), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		d.says("GET /v1/log/records", cut(record))
		if r := (host{socket: d.socket}).execute(t, "log", "export", "-o", file); r.code != exitFailed || !strings.Contains(r.stderr, "it may have stopped") {
			t.Errorf("%+v", r)
		}
		got, err := os.ReadFile(file)
		if string(got) != before || before == "" != errors.Is(err, fs.ErrNotExist) {
			t.Errorf("left %q, %v", got, err)
		}
		if before == "" && left(t, dir) != "" || before != "" && left(t, dir) != "requests.ndjson" {
			t.Errorf("left %s", left(t, dir))
		}
	}
}

func TestExportWhereItCannotWrite(t *testing.T) {
	d := newDaemon(t)
	dir := t.TempDir()
	r := host{socket: d.socket}.execute(t, "log", "export", "-o", filepath.Join(dir, "none", "f"))
	if r.code != exitFailed || !strings.HasPrefix(r.stderr, "mtlsproxyctl: writing: open "+dir+"/none/.f.") || !strings.HasSuffix(r.stderr, "no such file or directory\n") {
		t.Errorf("%+v", r)
	}
	if r := (host{socket: d.socket}).execute(t, "log", "export", "-o", dir); r.code != exitFailed || !strings.Contains(r.stderr, "is a directory") {
		t.Errorf("%+v", r)
	}
}

func TestExportDoesNotReplaceADeviceOrALink(t *testing.T) {
	d := newDaemon(t)
	dir := t.TempDir()
	file, link := filepath.Join(dir, "file"), filepath.Join(dir, "link")
	if err := errors.Join(os.WriteFile(file, nil, 0o600), os.Symlink(file, link)); err != nil {
		t.Fatal(err)
	}
	host{socket: d.socket}.execute(t, "log", "export", "-o", link).want(t, result{stderr: "3 records in " + link + "\n"})
	if got, err := os.ReadFile(file); err != nil || len(got) == 0 {
		t.Errorf("%q, %v", got, err)
	}
	if info, err := os.Lstat(link); err != nil || info.Mode()&fs.ModeSymlink == 0 {
		t.Errorf("the link is %v, %v", info, err)
	}
	host{socket: d.socket}.execute(t, "log", "export", "-o", "/dev/null").want(t, result{stderr: "3 records in /dev/null\n"})
	if info, err := os.Stat("/dev/null"); err != nil || info.Mode()&fs.ModeDevice == 0 {
		t.Errorf("/dev/null is %v, %v", info, err)
	}
}

func TestExportShowsHowFarItIs(t *testing.T) {
	d := newDaemon(t)
	d.says("GET /v1/log/records", func(w http.ResponseWriter, r *http.Request) {
		for _, hours := range []int{168, 84, 0} { // of the nine days before noon
			rec := cannedRecords()[0]
			rec.Time = noon.Add(-time.Duration(hours) * time.Hour)
			lines([]api.Record{rec})(w, r)
		}
	})
	clock := noon
	h := host{socket: d.socket, stderr: 60, env: map[string]string{"NO_COLOR": "1"}, now: func() time.Time {
		clock = clock.Add(barAfter / 2)
		return clock
	}}
	r := h.execute(t, "log", "export", "-o", filepath.Join(t.TempDir(), "f"))
	frames := strings.Split(r.stderr, "\r")
	if r.code != 0 || len(frames) < 3 || !strings.HasPrefix(frames[1], "███") || !strings.Contains(frames[1], "%  ") || !strings.HasPrefix(frames[len(frames)-1], clearLine+"3 records in ") {
		t.Errorf("%q", r.stderr)
	}
	// From the oldest record, nine days ago: seven days ago is 22 % of the way.
	b := &bar{to: io.Discard, now: h.now}
	var out strings.Builder
	b.to, b.from, b.span, b.page.Width = &out, noon.Add(-9*day), 9*day, 60
	b.at(noon.Add(-7*day), 1)
	if want := "\r" + strings.Repeat("█", 7) + strings.Repeat("░", 27) + "  22 %  1 record" + clearLine; out.String() != want {
		t.Errorf("got %q, want %q", out.String(), want)
	}
}

func TestExportShowsNothingWithoutATerminal(t *testing.T) {
	d := newDaemon(t)
	r := host{socket: d.socket}.execute(t, "log", "export")
	if r.stderr != "" || d.asked() != "GET /v1/log/records?limit=-1&order=oldest" {
		t.Errorf("%+v", r)
	}
}
