package machine

import (
	"bufio"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// mirror returns where this host gets Debian's packages, from its apt sources.
func mirror() (string, error) {
	files := []string{"/etc/apt/sources.list"}
	for _, pattern := range []string{"*.list", "*.sources"} {
		found, err := filepath.Glob("/etc/apt/sources.list.d/" + pattern)
		if err != nil {
			return "", err
		}
		files = append(files, found...)
	}
	for _, name := range files {
		f, err := os.Open(name)
		if errors.Is(err, os.ErrNotExist) {
			continue
		}
		if err != nil {
			return "", err
		}
		uri := mirrorIn(f, strings.HasSuffix(name, ".sources"))
		_ = f.Close() // only read
		if uri != "" {
			return uri, nil
		}
	}
	return "", errors.New("no mirror of Debian among the apt sources of this host")
}

// mirrorIn returns the first archive of Debian itself in a file of apt sources, in
// its one-line form or as stanzas (sources.list(5)); "" if there is none. Archives of
// others lack the suites by which it knows Debian's.
func mirrorIn(r io.Reader, stanzas bool) string {
	if stanzas {
		return mirrorInStanzas(r)
	}
	for lines := bufio.NewScanner(r); lines.Scan(); {
		words := strings.Fields(withoutOptions(lines.Text()))
		if len(words) >= 4 && words[0] == "deb" && debian(words[2:3], words[3:]) {
			return words[1]
		}
	}
	return ""
}

// withoutOptions removes what stands in brackets between type and address.
func withoutOptions(line string) string {
	before, rest, opened := strings.Cut(line, "[")
	_, after, closed := strings.Cut(rest, "]")
	if opened && closed {
		return before + after
	}
	return line
}

func mirrorInStanzas(r io.Reader) string {
	fields := map[string][]string{}
	found := func() string {
		if len(fields["uris"]) > 0 && slices.Contains(fields["types"], "deb") && debian(fields["suites"], fields["components"]) {
			return fields["uris"][0]
		}
		return ""
	}
	for lines := bufio.NewScanner(r); lines.Scan(); {
		line := lines.Text()
		if strings.TrimSpace(line) == "" {
			if uri := found(); uri != "" {
				return uri
			}
			clear(fields)
			continue
		}
		if name, value, ok := strings.Cut(line, ":"); ok && !strings.HasPrefix(line, "#") {
			fields[strings.ToLower(name)] = strings.Fields(value)
		}
	}
	return found()
}

var suites = []string{"bookworm", "trixie", "forky", "stable", "testing", "sid", "unstable"}

func debian(suite, components []string) bool {
	return slices.Contains(components, "main") && slices.ContainsFunc(suite, func(s string) bool { return slices.Contains(suites, s) })
}
