package config

import (
	"cmp"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// Options says where a configuration comes from. The zero Options loads the
// built-in defaults.
type Options struct {
	// File is the main file, "" for none. Its drop-ins are the *.toml files in
	// the directory of the same name with .d in the place of .toml; that
	// directory may be missing.
	File string

	// Optional allows File to be missing, for the default path.
	Optional bool

	// Env holds NAME=value pairs, as from os.Environ: the MTLSPROXY__ variables
	// and those that paths refer to as ${NAME}. Nil for none.
	Env []string

	// Set holds key=value pairs in the order in which they apply. The key is a
	// dotted TOML key, the value TOML or else a string.
	Set []string

	// One holds the one-upstream flags, nil for none.
	One *OneUpstream

	// Dir is the directory that relative paths of variables and flags start
	// from, "" to leave them as they are. Those of a file start from its own.
	Dir string

	// ReadFile and ReadDir replace os.ReadFile and os.ReadDir if they are not nil.
	ReadFile func(string) ([]byte, error)
	ReadDir  func(string) ([]fs.DirEntry, error)
}

// Load reads all layers and returns the Config they make. The error, if any, is
// an *Errors with everything that is wrong; the Config is nil then.
func Load(o Options) (*Config, error) {
	l := loader{Options: o, env: map[string]string{}, root: newTable(origin{})}
	for _, pair := range o.Env {
		if name, value, ok := strings.Cut(pair, "="); ok {
			l.env[name] = value
		}
	}
	l.files()
	l.environment()
	l.oneUpstream()
	l.sets()
	// With a layer missing, what follows would complain about things that are
	// only missing here.
	if err := l.err(); err != nil {
		return nil, err
	}
	return decode(l.root)
}

// DropInDir returns the directory that the drop-ins of a main file are read from.
func DropInDir(file string) string { return strings.TrimSuffix(file, ".toml") + ".d" }

// loader merges the layers into one tree.
type loader struct {
	Options
	problems

	env    map[string]string
	root   *node
	layers int
}

// layer starts the next layer.
func (l *loader) layer(y layer) *layer {
	l.layers++
	y.order = l.layers
	y.env = func(name string) (string, bool) {
		v, ok := l.env[name]
		return v, ok
	}
	return &y
}

// files reads the main file and its drop-ins.
func (l *loader) files() {
	if l.File == "" {
		return
	}
	l.file(l.File, l.Optional)
	dir := DropInDir(l.File)
	readDir := l.ReadDir
	if readDir == nil {
		readDir = os.ReadDir
	}
	entries, err := readDir(dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		l.unreadable(l.layer(layer{file: dir}), "reading drop-ins: ", err)
		return
	}
	slices.SortFunc(entries, func(a, b fs.DirEntry) int { return cmp.Compare(a.Name(), b.Name()) })
	for _, e := range entries {
		// Hidden files are what editors and package managers leave behind.
		if e.IsDir() || strings.HasPrefix(e.Name(), ".") || !strings.HasSuffix(e.Name(), ".toml") {
			continue
		}
		l.file(filepath.Join(dir, e.Name()), false)
	}
}

func (l *loader) file(name string, optional bool) {
	y := l.layer(layer{file: name, dir: filepath.Dir(name)})
	readFile := l.ReadFile
	if readFile == nil {
		readFile = os.ReadFile
	}
	data, err := readFile(name)
	switch {
	case err != nil && optional && errors.Is(err, fs.ErrNotExist):
		return
	case err != nil:
		l.unreadable(y, "reading configuration: ", err)
		return
	}
	tree := parseTOML(data, y, &l.problems)
	if tree == nil {
		return
	}
	nameRoutes(tree, y, &l.problems)
	l.root.merge(tree)
}

// unreadable reports an error of the operating system. The file's name stands
// in front of the line already.
func (l *loader) unreadable(y *layer, doing string, err error) {
	reason := err
	if pe, ok := errors.AsType[*fs.PathError](err); ok {
		reason = pe.Err
	}
	l.list = append(l.list, Problem{Source: y.file, Text: doing + reason.Error() + repair(y.file, err), layer: y.order, cause: err})
}
