package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/mtlsproxy/mtlsproxy/tlsclient/tlstest"
)

// way is one in which people replace the files of an identity.
type way struct {
	name string
	// files are the paths in the configuration, for an identity below dir.
	files func(u account, dir string) files
	// replace puts an identity in place for the nth time, from 0, and returns when it
	// began the last step.
	replace func(p *placing, id *tlstest.Identity, n int) (time.Time, error)
}

// placing is an identity on disk that is replaced.
type placing struct {
	files
	dir     string
	refused func() error // waits until the daemon has seen that it may not use the key
}

func ways() []way {
	plain := func(u account, dir string) files { return u.in(dir) }
	return []way{
		{"rename", plain, (*placing).rename},
		{"kubernetes", func(u account, dir string) files {
			return files{filepath.Join(dir, "tls.crt"), filepath.Join(dir, "tls.key"), filepath.Join(dir, "ca.crt"), u.gid()}
		}, (*placing).kubernetes},
		{"certbot", func(u account, dir string) files {
			live := filepath.Join(dir, "live", "x")
			return files{filepath.Join(live, "fullchain.pem"), filepath.Join(live, "privkey.pem"), filepath.Join(dir, "ca.crt"), u.gid()}
		}, (*placing).certbot},
		{"directory", func(u account, dir string) files {
			f := u.in(filepath.Join(dir, "current"))
			f.ca = filepath.Join(dir, "ca.crt")
			return f
		}, (*placing).directory},
		{"write", plain, (*placing).write},
		{"chmod", plain, (*placing).chmod},
	}
}

// rename is what mtlsproxy-rotation(7) recommends.
func (p *placing) rename(id *tlstest.Identity, _ int) (time.Time, error) { return p.replace(id) }

// kubernetes is how kubelet writes a volume: what the paths lead to is below a link,
// ..data, which is turned to another directory.
func (p *placing) kubernetes(id *tlstest.Identity, n int) (time.Time, error) {
	fresh := fmt.Sprintf("..2026_11_23_%d", n)
	data := filepath.Join(p.dir, "..data")
	before, _ := os.Readlink(data) // there is none at first
	err := errors.Join(p.pair(filepath.Join(p.dir, fresh), "tls.crt", "tls.key", id), os.Symlink(fresh, data+"_tmp"))
	if err != nil {
		return time.Time{}, err
	}
	last := time.Now()
	if err := os.Rename(data+"_tmp", data); err != nil {
		return time.Time{}, err
	}
	if before != "" {
		return last, os.RemoveAll(filepath.Join(p.dir, before))
	}
	return last, errors.Join(os.Symlink("..data/tls.crt", p.cert), os.Symlink("..data/tls.key", p.key))
}

// certbot keeps all it ever had in an archive, to which it makes links anew: it removes
// the old one first.
func (p *placing) certbot(id *tlstest.Identity, n int) (last time.Time, err error) {
	archive := filepath.Join(p.dir, "archive", "x")
	cert, key := fmt.Sprintf("fullchain%d.pem", n+1), fmt.Sprintf("privkey%d.pem", n+1)
	if err := errors.Join(p.pair(archive, cert, key, id), os.MkdirAll(filepath.Dir(p.cert), 0o755)); err != nil {
		return time.Time{}, err
	}
	for link, name := range pairs(p.key, key, p.cert, cert) {
		if err := os.Remove(link); err != nil && n > 0 {
			return time.Time{}, err
		}
		last = time.Now()
		if err := os.Symlink(filepath.Join("..", "..", "archive", "x", name), link); err != nil {
			return time.Time{}, err
		}
	}
	return last, nil
}

// directory turns a link to the directory that all is in.
func (p *placing) directory(id *tlstest.Identity, n int) (time.Time, error) {
	release, current := fmt.Sprintf("releases/%d", n), filepath.Dir(p.cert)
	err := errors.Join(p.pair(filepath.Join(p.dir, release), "client.crt", "client.key", id), os.Symlink(release, current+".new"))
	if err != nil {
		return time.Time{}, err
	}
	last := time.Now()
	return last, os.Rename(current+".new", current)
}

// write is cp: both files are emptied and filled, in two pieces each. Every other time
// they do not fit each other for longer than it takes to notice.
func (p *placing) write(id *tlstest.Identity, n int) (time.Time, error) {
	if _, err := overwrite(p.key, id.KeyPEM(), 0o600); err != nil {
		return time.Time{}, err
	}
	pause([]time.Duration{100 * time.Millisecond, 700 * time.Millisecond}[n%2])
	return overwrite(p.cert, id.CertPEM(), 0o644)
}

// overwrite writes into the file that is there, and returns when it began the last piece.
func overwrite(path string, data []byte, mode os.FileMode) (time.Time, error) {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, mode)
	if err != nil {
		return time.Time{}, err
	}
	defer f.Close()
	half := len(data) / 2
	if _, err := f.Write(data[:half]); err != nil {
		return time.Time{}, err
	}
	pause(20 * time.Millisecond)
	last := time.Now()
	_, err = f.Write(data[half:])
	return last, err
}

// chmod brings a key that others may read, or, every third time and if that can be had,
// one of somebody else, and mends that once it was refused.
func (p *placing) chmod(id *tlstest.Identity, n int) (time.Time, error) {
	if n == 0 {
		return p.replace(id)
	}
	const stranger = 65533
	mend := func() error { return os.Chmod(p.key, 0o600) }
	if err := p.put(p.key, id.KeyPEM(), 0o644); err != nil {
		return time.Time{}, err
	}
	if os.Geteuid() == 0 && n%3 == 0 && os.Chown(p.key, stranger, -1) == nil {
		mend = func() error { return os.Chown(p.key, 0, -1) }
		if err := os.Chmod(p.key, 0o600); err != nil {
			return time.Time{}, err
		}
	}
	if err := errors.Join(p.put(p.cert, id.CertPEM(), 0o644), p.refused()); err != nil {
		return time.Time{}, err
	}
	last := time.Now()
	return last, mend()
}

// pair writes an identity into a directory that it makes.
func (p *placing) pair(dir, cert, key string, id *tlstest.Identity) error {
	return errors.Join(os.MkdirAll(dir, 0o755), p.put(filepath.Join(dir, key), id.KeyPEM(), 0o640), p.put(filepath.Join(dir, cert), id.CertPEM(), 0o644))
}

// pairs yields its arguments by two.
func pairs(list ...string) func(func(string, string) bool) {
	return func(yield func(string, string) bool) {
		for i := 0; i+1 < len(list) && yield(list[i], list[i+1]); i += 2 {
		}
	}
}
