package machine

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"testing"
)

func TestTheHierarchiesAreThoseThatSystemdUsesAndAreMounted(t *testing.T) {
	for name, c := range map[string]struct {
		own     string
		mounted []string
		want    []string
	}{
		"mixed": {
			own:     "9:name=systemd:/a\n4:memory:/else\n0::/b\n",
			mounted: []string{"systemd/a", "unified/b", "memory/else"},
			want:    []string{"systemd/a", "unified/b"},
		},
		"unified": {own: "0::/user.slice\n", mounted: []string{"user.slice"}, want: []string{"user.slice"}},
		"of version 1": {
			own: "1:name=systemd:/\n0::/\n", mounted: []string{"systemd"}, want: []string{"systemd"},
		},
		"none": {own: "0::/\n"},
	} {
		t.Run(name, func(t *testing.T) {
			root := t.TempDir()
			for _, dir := range c.mounted {
				if err := os.MkdirAll(filepath.Join(root, dir), 0o755); err != nil {
					t.Fatal(err)
				}
				if err := os.WriteFile(filepath.Join(root, dir, "cgroup.procs"), nil, 0o600); err != nil {
					t.Fatal(err)
				}
			}
			var want []string
			for _, dir := range c.want {
				want = append(want, filepath.Join(root, dir))
			}
			if got := hierarchies(c.own, root); !slices.Equal(got, want) {
				t.Errorf("got %q, want %q", got, want)
			}
		})
	}
}

func TestAGroupIsRemovedWithAllBelowIt(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "group")
	if err := os.MkdirAll(filepath.Join(dir, "payload", "system.slice"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := (cgroups{dir}).remove(); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(dir); !os.IsNotExist(err) {
		t.Errorf("got %v, want that it is gone", err)
	}
	if err := (cgroups{dir}).remove(); err != nil {
		t.Errorf("removing what is gone: %v", err)
	}
}

func TestAProgramIsStartedInsideItsGroups(t *testing.T) {
	groups := cgroups{t.TempDir(), t.TempDir()}
	cmd := exec.CommandContext(t.Context(), "sh", groups.command("printf", []string{"%s-", "a b", "'"})...)
	out, err := cmd.CombinedOutput()
	if err != nil || string(out) != "a b-'-" {
		t.Fatalf("got %q, %v", out, err)
	}
	for _, dir := range groups {
		entered, err := os.ReadFile(filepath.Join(dir, "cgroup.procs"))
		if want := strconv.Itoa(cmd.Process.Pid) + "\n"; err != nil || string(entered) != want {
			t.Errorf("entered as %q, %v, want %q", entered, err, want)
		}
	}
}
