package main

import (
	"context"
	"slices"
	"strings"
	"time"

	"github.com/alecthomas/kong"
)

// completionCmd prints a script for a shell.
type completionCmd struct {
	Shell string `arg:"" enum:"bash,zsh,fish" help:"bash, zsh or fish."`
}

// Help is the second half of --help.
func (completionCmd) Help() string {
	return `The script asks mtlsproxyctl itself what may come next.

  mtlsproxyctl completion bash | sudo tee /usr/share/bash-completion/completions/mtlsproxyctl
  mtlsproxyctl completion zsh  | sudo tee /usr/share/zsh/site-functions/_mtlsproxyctl
  mtlsproxyctl completion fish | sudo tee /usr/share/fish/vendor_completions.d/mtlsproxyctl.fish`
}

// Run prints it.
func (c *completionCmd) Run(x *control) error {
	if x.json {
		return usageError{"--json: a script is no JSON; leave it out"}
	}
	return say(x.stdout, map[string]string{"bash": bashScript, "zsh": zshScript, "fish": fishScript}[c.Shell])
}

const bashScript = `# Completion of mtlsproxyctl for bash.
_mtlsproxyctl() {
    mapfile -t COMPREPLY < <(mtlsproxyctl complete-words "${COMP_WORDS[@]:1:COMP_CWORD}" 2>/dev/null)
}
complete -o default -F _mtlsproxyctl mtlsproxyctl
`

const zshScript = `#compdef mtlsproxyctl
# Completion of mtlsproxyctl for zsh.
_mtlsproxyctl() {
    local -a candidates
    candidates=("${(@f)$(mtlsproxyctl complete-words "${(@)words[2,CURRENT]}" 2>/dev/null)}")
    if [[ -n "${candidates[1]}" ]]; then
        compadd -a candidates
    else
        _files
    fi
}
if [[ "${funcstack[1]}" == "_mtlsproxyctl" ]]; then
    _mtlsproxyctl "$@"
else
    compdef _mtlsproxyctl mtlsproxyctl
fi
`

const fishScript = `# Completion of mtlsproxyctl for fish.
function __mtlsproxyctl_words
    set -l words (commandline -opc) (commandline -ct)
    mtlsproxyctl complete-words $words[2..-1] 2>/dev/null
end
complete -c mtlsproxyctl -a '(__mtlsproxyctl_words)'
`

// wordsCmd prints what may come next on a command line, one candidate per line.
type wordsCmd struct {
	Args []string `arg:"" optional:""`
}

// Run prints the candidates that begin with the last word.
func (c *wordsCmd) Run(x *control) error {
	args := c.Args
	if len(args) == 0 {
		args = []string{""}
	}
	last := args[len(args)-1]
	var out strings.Builder
	for _, word := range x.candidates(args[:len(args)-1], last) {
		if strings.HasPrefix(word, last) {
			out.WriteString(word + "\n")
		}
	}
	return say(x.stdout, out.String())
}

// candidates are the words that may follow others.
func (x *control) candidates(before []string, last string) []string {
	node := x.model.Node
	var value *kong.Flag // that the last word is the value of
	arguments := 0
	for _, word := range before {
		if word == "=" { // bash makes it a word
			continue
		}
		if value != nil {
			value = nil
			continue
		}
		if strings.HasPrefix(word, "-") {
			if !strings.Contains(word, "=") {
				value = needsValue(flagNamed(node, word))
			}
			continue
		}
		if child := childNamed(node, word); child != nil {
			node, arguments = child, 0
		} else {
			arguments++
		}
	}
	switch {
	case value != nil:
		return x.values(value.Value)
	case strings.HasPrefix(last, "-"):
		return flagsOf(node)
	}
	var words []string
	for _, child := range node.Children {
		if !child.Hidden {
			words = append(words, child.Name)
		}
	}
	if deep := withDefault(node); arguments < len(deep.Positional) {
		words = append(words, x.values(deep.Positional[arguments])...)
	}
	return words
}

// withDefault is the command that runs if no other is named.
func withDefault(n *kong.Node) *kong.Node {
	if n.DefaultCmd != nil {
		return n.DefaultCmd
	}
	return n
}

func childNamed(n *kong.Node, name string) *kong.Node {
	for _, child := range n.Children {
		if child.Name == name && !child.Hidden {
			return child
		}
	}
	return nil
}

func flagGroups(n *kong.Node) []*kong.Flag {
	all := slices.Concat(n.AllFlags(true)...)
	if n.DefaultCmd != nil {
		all = append(all, n.DefaultCmd.Flags...)
	}
	return all
}

func flagsOf(n *kong.Node) []string {
	var out []string
	for _, f := range flagGroups(n) {
		out = append(out, "--"+f.Name)
	}
	slices.Sort(out)
	return slices.Compact(out)
}

func flagNamed(n *kong.Node, word string) *kong.Flag {
	for _, f := range flagGroups(n) {
		if word == "--"+f.Name || f.Short != 0 && word == "-"+string(f.Short) {
			return f
		}
	}
	return nil
}

func needsValue(f *kong.Flag) *kong.Flag {
	if f == nil || f.IsBool() || f.IsCounter() {
		return nil
	}
	return f
}

// values are what a flag or an argument may be. Names come from the daemon, if it
// answers at once.
func (x *control) values(v *kong.Value) []string {
	if v.Enum != "" {
		return slices.DeleteFunc(strings.Split(v.Enum, ","), func(s string) bool { return s == "" })
	}
	ctx, cancel := context.WithTimeout(x.ctx, time.Second)
	defer cancel()
	var out []string
	switch v.Name {
	case "level":
		return levels
	case "identity|upstream":
		return append(x.identityNames(ctx), x.upstreamNames(ctx)...)
	case "upstream", "upstream[/endpoint]":
		return x.upstreamNames(ctx)
	case "route":
		list, err := x.client.Routes(ctx)
		if err != nil {
			return nil
		}
		for _, r := range list {
			out = append(out, r.Name)
		}
	case "identity":
		return x.identityNames(ctx)
	case "caller":
		return []string{"unknown"}
	case "class":
		return []string{"any"}
	}
	return out
}

// upstreamNames are none if the daemon does not answer.
func (x *control) upstreamNames(ctx context.Context) (out []string) {
	list, err := x.client.Upstreams(ctx)
	if err != nil {
		return nil
	}
	for _, u := range list {
		out = append(out, u.Name)
	}
	return out
}

// identityNames are none if the daemon does not answer.
func (x *control) identityNames(ctx context.Context) (out []string) {
	list, err := x.client.Identities(ctx)
	if err != nil {
		return nil
	}
	for _, i := range list {
		out = append(out, i.Name)
	}
	return out
}
