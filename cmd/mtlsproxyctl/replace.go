package main

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
)

// replace writes a file that is there once it is complete: what write writes goes
// into one beside it, which then takes its name. What is no regular file, such as a
// pipe or /dev/null, is written as it is.
func replace(path string, write func(io.Writer) error) (err error) {
	info, err := os.Stat(path)
	switch {
	case err == nil && !info.Mode().IsRegular():
		return overwrite(path, write)
	case err == nil: // the file itself, not a link to it
		if path, err = filepath.EvalSymlinks(path); err != nil {
			return fmt.Errorf("writing: %w", err)
		}
	case !errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("writing: %w", err)
	}
	f, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+".*")
	if err != nil {
		return fmt.Errorf("writing: %w", err)
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, os.Remove(f.Name()))
		}
	}()
	if err := errors.Join(write(f), f.Sync(), f.Close()); err != nil {
		return err
	}
	if err := os.Rename(f.Name(), path); err != nil {
		return fmt.Errorf("writing: %w", err)
	}
	return nil
}

func overwrite(path string, write func(io.Writer) error) error {
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		return fmt.Errorf("writing: %w", err)
	}
	return errors.Join(write(f), f.Close())
}
