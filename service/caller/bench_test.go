package caller

import (
	"net"
	"testing"
)

// What a caller costs per connection.
func BenchmarkCaller(b *testing.B) {
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	defer l.Close()
	far, err := net.Dial("tcp4", l.Addr().String())
	if err != nil {
		b.Fatal(err)
	}
	defer far.Close()
	near, err := l.Accept()
	if err != nil {
		b.Fatal(err)
	}
	defer near.Close()
	u, err := net.Listen("unix", b.TempDir()+"/s")
	if err != nil {
		b.Fatal(err)
	}
	defer u.Close()
	farUnix, err := net.Dial("unix", u.Addr().String())
	if err != nil {
		b.Fatal(err)
	}
	defer farUnix.Close()
	nearUnix, err := u.Accept()
	if err != nil {
		b.Fatal(err)
	}
	defer nearUnix.Close()
	run := func(name string, f func() error) {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if err := f(); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
	var d Diag
	defer d.Close()
	run("tcp uid", func() error { _, err := d.UID(near); return err })
	run("tcp uid with a socket each time", func() error {
		var d Diag
		defer d.Close()
		_, err := d.UID(near)
		return err
	})
	run("unix uid", func() error { _, err := d.UID(nearUnix); return err })
	run("unix", func() error { _, err := d.Of(nearUnix); return err })
	run("tcp", func() error { _, err := d.Of(near); return err })
}
