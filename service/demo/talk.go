package demo

import (
	"strings"
)

// Wording: lower case, short, no exclamation marks; commands stand after "$ " and
// work as they are printed. No colours: the text is to be piped and pasted too.

// introduce says what was made and how the daemon could be started by hand.
func (d *demo) introduce() {
	d.print.line("a certificate authority, an upstream that demands a client certificate, and the")
	d.print.line("daemon, all on this host; made for this demonstration and removed after it")
	d.print.line("")
	d.print.line("files     %s", d.dir)
	d.print.line("upstream  https://%s, which calls itself %s", d.upstream.addr, serverName)
	d.print.line("daemon    http://%s and %s, as if started by", d.tcp, d.unix)
	d.print.line("")
	d.print.line("  $ mtlsproxyd --listen %s --listen %s \\", d.tcp, quote(d.unix))
	d.print.line("      --upstream https://%s --server-name %s \\", d.upstream.addr, serverName)
	d.print.line("      --cert %s --key %s \\", quote(d.pki.cert), quote(d.pki.key))
	d.print.line("      --ca %s --set %s", quote(d.pki.ca), quote(routeHosts))
}

// invite says what can be tried, and goes live.
func (d *demo) invite() {
	d.print.line("")
	d.print.line("all of it stays up until ctrl-c; try, in another terminal:")
	d.print.line("")
	for _, command := range []string{
		d.curl("-i", d.url("/")),
		d.curl("-i", "--unix-socket", d.unix, "http://localhost/"),
		d.curl("-i", "-x", d.url(""), "http://"+serverName+"/"),
		d.curl("-d", "some text", d.url("/echo")),
		d.curl("-i", d.url("/status/503")),
	} {
		d.print.line("  $ %s", command)
	}
	d.print.line("")
	d.print.line("this takes five seconds, and finishes even if you press ctrl-c here meanwhile:")
	d.print.line("")
	d.print.line("  $ %s", d.curl("-N", d.url("/slow")))
	d.print.line("")
	d.print.line("past the daemon, without and with the certificate:")
	d.print.line("")
	d.print.line("  $ %s", d.direct())
	d.print.line("  $ %s", d.direct("--cert", d.pki.cert, "--key", d.pki.key))
	d.print.line("")
	d.print.goLive()
}

// url is a URL on the daemon's TCP listener.
func (d *demo) url(path string) string { return "http://" + d.tcp + path }

// direct is a command that asks the upstream itself.
func (d *demo) direct(args ...string) string {
	args = append([]string{"-i", "--cacert", d.pki.ca}, args...)
	return d.curl(append(args, "https://"+d.upstream.addr+"/")...)
}

// curl is a command for a shell.
func (d *demo) curl(args ...string) string {
	var b strings.Builder
	b.WriteString("curl")
	for _, a := range args {
		b.WriteString(" " + quote(a))
	}
	return b.String()
}

// quote makes a word of s for a shell.
func quote(s string) string {
	const plain = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789%+,-./:=@_"
	if s != "" && strings.Trim(s, plain) == "" {
		return s
	}
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
}
