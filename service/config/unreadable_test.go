package config

import (
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

func TestAFileThatMayNotBeReadSaysWhoMayNotAndWhatToDo(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "mtlsproxy.toml")
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	_, err := Load(Options{File: path, ReadFile: func(string) ([]byte, error) {
		return nil, &fs.PathError{Op: "open", Path: path, Err: syscall.EACCES}
	}})
	if err == nil {
		t.Fatal("a file that may not be read was loaded")
	}
	for _, want := range []string{path + ": reading configuration: permission denied; this daemon runs as user ", "chgrp ", path + " && chmod g+r " + path} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%q is not in %v", want, err)
		}
	}
}

func TestADirectoryThatMayNotBeReadSaysWhatToDo(t *testing.T) {
	dir := t.TempDir()
	_, err := Load(Options{
		File: filepath.Join(dir, "mtlsproxy.toml"), Optional: true,
		ReadDir: func(path string) ([]fs.DirEntry, error) {
			if err := os.MkdirAll(path, 0o700); err != nil {
				t.Fatal(err)
			}
			return nil, &fs.PathError{Op: "open", Path: path, Err: syscall.EACCES}
		},
	})
	if want := "chmod g+rx " + filepath.Join(dir, "mtlsproxy.d"); err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("%q is not in %v", want, err)
	}
}

func TestAFileInAHomeBlamesTheSandbox(t *testing.T) {
	t.Setenv("INVOCATION_ID", "1")
	if got := repair("/home/x/mtlsproxy.toml", fs.ErrNotExist); !strings.Contains(got, "ProtectHome=") {
		t.Errorf("%q", got)
	}
	t.Setenv("INVOCATION_ID", "")
	if got := repair("/home/x/mtlsproxy.toml", fs.ErrNotExist); got != "" {
		t.Errorf("%q without a sandbox", got)
	}
}
