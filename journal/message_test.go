package journal

import (
	"bytes"
	"flag"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write packaging/catalog/mtlsproxy.catalog anew")

const catalogFile = "../packaging/catalog/mtlsproxy.catalog"

func TestCatalogIsThatOfTheTable(t *testing.T) {
	if *update {
		if err := os.MkdirAll(filepath.Dir(catalogFile), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(catalogFile, Catalog(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	file, err := os.ReadFile(catalogFile)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(file, Catalog()) {
		t.Error("the catalog is not what the table says; run: go test ./journal -run Catalog -update")
	}
}

func TestMessagesAreComplete(t *testing.T) {
	id, event, field := regexp.MustCompile(`^[0-9a-f]{32}$`), regexp.MustCompile(`^[a-z]+(_[a-z]+)*$`), regexp.MustCompile(`@([A-Z_]*)@`)
	manual := regexp.MustCompile(`^mtlsproxy[a-z.-]*\([1578]\)$`)
	ids, events := map[string]bool{}, map[string]bool{}
	for _, m := range Messages() {
		if !id.MatchString(m.ID) || ids[m.ID] || m.ID[12] != '4' { // a random UUID, as systemd-id128 makes them
			t.Errorf("%s: MESSAGE_ID %q is no id, or not its own", m.Event, m.ID)
		}
		if !event.MatchString(m.Event) || events[m.Event] {
			t.Errorf("%s: %q is no event, or not its own", m.ID, m.Event)
		}
		ids[m.ID], events[m.Event] = true, true
		if m.Subject == "" || strings.Contains(m.Subject, "\n") || strings.HasSuffix(m.Subject, ".") || !strings.HasSuffix(m.Explanation, ".") || len(m.Manuals) == 0 {
			t.Errorf("%s: wants a subject of a line, an explanation in sentences and manuals", m.Event)
		}
		for _, text := range m.Manuals {
			if !manual.MatchString(text) {
				t.Errorf("%s: %q is no manual page", m.Event, text)
			}
		}
		for line := range strings.SplitSeq(m.Explanation, "\n") {
			if len(line) > 90 || strings.HasPrefix(line, "--") || strings.HasPrefix(line, "#") || strings.TrimRight(line, " \t") != line {
				t.Errorf("%s: this line does not suit the catalog: %q", m.Event, line)
			}
		}
		var named []string
		for _, a := range m.Attrs {
			named = append(named, fieldName(a))
		}
		for _, match := range field.FindAllStringSubmatch(m.Subject+m.Explanation, -1) {
			if !slices.Contains(named, match[1]) {
				t.Errorf("%s: it names field %s, but not every such event has it", m.Event, match[1])
			}
		}
	}
}

// Packages that know nothing of this one write the text of an event.
func TestEventsInTheSourceHaveMessages(t *testing.T) {
	literal := regexp.MustCompile(`"` + EventAttr + `", *"([^"]*)"`)
	found := 0
	err := filepath.WalkDir("..", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
			return err
		}
		source, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		for _, match := range literal.FindAllSubmatch(source, -1) {
			found++
			if messageIDs()[string(match[1])] == "" {
				t.Errorf("%s: event %q is not in the table of messages", path, match[1])
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%d events are written as text", found)
}

// An event that nobody logs has an explanation that nobody will ever read.
func TestEveryMessageHasAnEventInTheSource(t *testing.T) {
	names := map[string]string{} // of the constants, by event
	ids, err := os.ReadFile("message_ids.go")
	if err != nil {
		t.Fatal(err)
	}
	for _, match := range regexp.MustCompile(`(?m)^\t([A-Z]\w*) += "([a-z_]+)"`).FindAllStringSubmatch(string(ids), -1) {
		names[match[2]] = match[1]
	}
	var all strings.Builder
	err = filepath.WalkDir("..", func(path string, d fs.DirEntry, err error) error {
		name := filepath.Base(path)
		if err != nil || d.IsDir() || !strings.HasSuffix(name, ".go") || strings.HasSuffix(name, "_test.go") || strings.HasPrefix(name, "message") {
			return err
		}
		source, err := os.ReadFile(path)
		all.Write(source)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range Messages() {
		call := regexp.MustCompile(`("event", |EventAttr, )("` + m.Event + `"|(journal\.)?` + names[m.Event] + `\b)`)
		if names[m.Event] == "" || !call.MatchString(all.String()) {
			t.Errorf("%s: no code logs this event", m.Event)
		}
	}
}
