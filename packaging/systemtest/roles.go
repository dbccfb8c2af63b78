package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"

	"github.com/mtlsproxy/mtlsproxy/packaging/systemtest/load"
	"github.com/mtlsproxy/mtlsproxy/packaging/systemtest/upstream"
)

// roles are what the program does inside a machine. Each writes a line when it is up,
// and ends when its standard input does.
var roles = map[string]func(args []string, stdin io.Reader, stdout io.Writer) error{
	"upstream": playUpstream,
	"load":     playLoad,
}

// upLine says that a role has begun.
const upLine = "up\n"

// Files of the upstream, in the directory that it is given.
const (
	caFile   = "ca.crt"
	certFile = "server.crt"
	keyFile  = "server.key"
	slowFile = "slow" // is there while a slow request is
)

// playUpstream serves on an address with the certificates in a directory.
func playUpstream(args []string, stdin io.Reader, stdout io.Writer) error {
	if len(args) != 2 {
		return errors.New("usage: systemtest upstream DIRECTORY ADDRESS")
	}
	read := func(name string) (content []byte, err error) {
		return os.ReadFile(filepath.Join(args[0], name))
	}
	ca, err1 := read(caFile)
	cert, err2 := read(certFile)
	key, err3 := read(keyFile)
	l, err4 := net.Listen("tcp", args[1]) //nolint:noctx // to listen on this host does not block
	if err := errors.Join(err1, err2, err3, err4); err != nil {
		return err
	}
	go func() {
		_, _ = io.Copy(io.Discard, stdin) // its end is the message
		_ = l.Close()
	}()
	fmt.Fprint(stdout, upLine)
	slow := filepath.Join(args[0], slowFile)
	return upstream.Serve(l, upstream.Options{
		Own: upstream.Pair{Cert: cert, Key: key}, CA: ca,
		Begun: func() { _ = os.WriteFile(slow, nil, 0o600) }, // whoever looks for it will miss it
		Ended: func() { _ = os.Remove(slow) },
	})
}

// playLoad sends load with the options in its argument, and writes the count.
func playLoad(args []string, stdin io.Reader, stdout io.Writer) error {
	var o load.Options
	if len(args) != 1 || json.Unmarshal([]byte(args[0]), &o) != nil {
		return errors.New("usage: systemtest load OPTIONS-IN-JSON")
	}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	go func() {
		_, _ = io.Copy(io.Discard, stdin) // its end is the message
		cancel()
	}()
	count := load.Run(ctx, o, func() { fmt.Fprint(stdout, upLine) })
	return json.NewEncoder(stdout).Encode(count)
}
