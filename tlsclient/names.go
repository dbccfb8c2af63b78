package tlsclient

import (
	"bytes"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/hex"
	"slices"
)

// distinguished writes DER names in the form of RFC 2253. What is no name is written in
// hexadecimal: a server may send anything.
func distinguished(ders [][]byte) []string {
	var out []string
	for _, der := range ders {
		var name pkix.RDNSequence
		if rest, err := asn1.Unmarshal(der, &name); err != nil || len(rest) > 0 {
			out = append(out, "#"+hex.EncodeToString(der))
			continue
		}
		out = append(out, name.String())
	}
	return out
}

// issuedByOne reports whether one of the authorities, DER names, issued something in the
// chain that g shows. A server that names none takes any.
func (g *Generation) issuedByOne(authorities [][]byte) bool {
	if len(authorities) == 0 {
		return true
	}
	for _, der := range g.cert.Certificate {
		c, err := x509.ParseCertificate(der)
		if err == nil && slices.ContainsFunc(authorities, func(a []byte) bool { return bytes.Equal(a, c.RawIssuer) }) {
			return true
		}
	}
	return false
}
