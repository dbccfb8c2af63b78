package main

import (
	"context"
	"fmt"
	"io"
	"os"

	"github.com/mtlsproxy/mtlsproxy/cmd/mtlsproxyctl/text"
	"github.com/mtlsproxy/mtlsproxy/service/admin/api"
)

// certsStageCmd hands new files to the daemon.
type certsStageCmd struct {
	Identity string `arg:"" help:"Whose files they are to be."`
	Cert     string `arg:"" optional:"" help:"New certificate, PEM: leaf first, then intermediates."`
	Key      string `arg:"" optional:"" help:"Its private key, PEM."`
	CA       string `arg:"" optional:"" help:"New trust anchors, PEM; without them, those in place stay."`
	PKCS12   string `name:"pkcs12" help:"Certificate and key in one file, instead." placeholder:"FILE"`
	Anchors  string `name:"ca" help:"New trust anchors, to go with --pkcs12." placeholder:"FILE"`
}

// Help is the second half of --help.
func (certsStageCmd) Help() string {
	return `The files are read by the user who calls. The daemon checks them as it would on disk,
and keeps them in memory until commit, abort, or others are staged, for an hour at
most. Nothing else changes. What is encrypted opens with the identity's own passphrase file.

  mtlsproxyctl certs stage default new.crt new.key
  mtlsproxyctl certs probe default
  mtlsproxyctl certs commit default`
}

// maxFiles is how many bytes the files of a stage may have in all, so that with some
// room for the rest they fit into api.MaxStage.
const maxFiles = (api.MaxStage - 4096) / 4 * 3

// Run stages.
func (c *certsStageCmd) Run(x *control) error {
	if err := c.check(); err != nil {
		return err
	}
	s, err := c.read(x)
	defer s.Clear()
	if err != nil {
		return err
	}
	question := func(ctx context.Context) (api.Staged, error) { return x.client.Stage(ctx, s) }
	return ask(x, question, x.writeStaged)
}

// check refuses what is neither of the two forms.
func (c *certsStageCmd) check() error {
	switch {
	case c.PKCS12 != "" && c.Cert != "":
		return usageError{"--pkcs12 has certificate and key in it: leave CERT and KEY out, and name trust anchors with --ca"}
	case c.PKCS12 == "" && c.Key == "":
		return usageError{fmt.Sprintf("what is to be staged? (want certs stage %s CERT KEY, or --pkcs12 FILE)", c.Identity)}
	case c.CA != "" && c.Anchors != "":
		return usageError{"trust anchors are named twice, as CA and with --ca"}
	}
	return nil
}

// read reads the files.
func (c *certsStageCmd) read(x *control) (api.Stage, error) {
	s := api.Stage{Identity: c.Identity}
	room := int64(maxFiles)
	for _, f := range []struct {
		to     *[]byte
		path   string
		what   string
		secret bool
	}{
		{&s.Cert, c.Cert, "certificate", false}, {&s.Key, c.Key, "key", true}, {&s.PKCS12, c.PKCS12, "PKCS #12 file", true},
		{&s.CA, c.CA + c.Anchors, "trust anchors", false},
	} {
		if f.path == "" {
			continue
		}
		var err error
		if *f.to, err = x.readFile(f.path, room, f.secret); err != nil {
			return s, fmt.Errorf("%s: %w", f.what, err)
		}
		if len(*f.to) == 0 {
			return s, &api.Error{Class: api.BadRequest, Message: fmt.Sprintf("%s: %s is empty", f.what, f.path)}
		}
		if room -= int64(len(*f.to)); room < 0 {
			return s, &api.Error{Class: api.TooLarge, Message: fmt.Sprintf("the files are too large: %s in all is the most", text.Bytes(int64(maxFiles))), Hint: "are they the right ones?"}
		}
	}
	return s, nil
}

// readFile reads up to one byte more than room.
func (x *control) readFile(path string, room int64, secret bool) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }() // it was only read
	if secret {
		x.warnOfReaders(f)
	}
	return io.ReadAll(io.LimitReader(f, room+1))
}

// warnOfReaders says so if others may read a file with a key, or change it. The bits
// are those that the daemon minds where the identity lives.
func (x *control) warnOfReaders(f *os.File) {
	info, err := f.Stat()
	if err != nil || !info.Mode().IsRegular() || info.Mode().Perm()&0o027 == 0 || x.quiet() {
		return
	}
	_ = say(x.stderr, fmt.Sprintf("mtlsproxyctl: warning: the mode of %s, %04o, lets others read or change it; run: chmod 0600 %s\n",
		text.Safe(f.Name()), info.Mode().Perm(), text.Safe(f.Name())))
}

func (x *control) writeStaged(w io.Writer, s api.Staged) error {
	name := text.Safe(s.Identity)
	fields := append([][2]string{{"staged for", s.Identity}}, x.certificate(&s.Certificate)...)
	if s.Anchors > 0 {
		fields = append(fields, [2]string{"trusts", text.Number(s.Anchors, "trust anchor")})
	}
	return say(w, x.fields(fields)+"\nNothing has changed yet. Next:\n"+
		"  mtlsproxyctl certs probe "+name+"   tries it with each endpoint\n"+
		"  mtlsproxyctl certs commit "+name+"  puts it in place\n"+
		"  mtlsproxyctl certs abort "+name+"   forgets it\n")
}
