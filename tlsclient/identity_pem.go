package tlsclient

import (
	"bytes"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
)

func (id Identity) parseChain(data []byte) ([]*x509.Certificate, error) {
	chain, reason, err := parseCertificates(data)
	for i := 1; err == nil && i < len(chain); i++ {
		if !bytes.Equal(chain[i-1].RawIssuer, chain[i].RawSubject) {
			reason = ReasonMalformed
			err = fmt.Errorf("number %d is not the issuer of the one before it; put the leaf first, then its intermediates in order", i+1)
		}
	}
	if err != nil {
		return nil, &LoadError{Reason: reason, Path: id.Cert, Err: fmt.Errorf("certificate %q: %w", id.Cert, err)}
	}
	return chain, nil
}

// parseCertificates reads all certificates in PEM data. One that cannot be read spoils
// all: the file may be half written.
func parseCertificates(data []byte) ([]*x509.Certificate, Reason, error) {
	blocks, err := pemBlocks(data, "CERTIFICATE")
	if err != nil {
		return nil, ReasonMalformed, err
	}
	if len(blocks) == 0 {
		return nil, absent(data), errors.New("it holds no PEM certificate")
	}
	var out []*x509.Certificate
	for i, der := range blocks {
		c, err := x509.ParseCertificate(der)
		if err != nil {
			return nil, ReasonMalformed, fmt.Errorf("parsing PEM block %d: %w", i+1, err)
		}
		out = append(out, c)
	}
	return out, "", nil
}

// pemBlocks returns the contents of all PEM blocks of a type. Package pem passes over
// those that are damaged or cut short, of whatever type, which are an error here.
func pemBlocks(data []byte, kind string) ([][]byte, error) {
	var blocks [][]byte
	whole := 0
	block, rest := pem.Decode(data)
	for ; block != nil; block, rest = pem.Decode(rest) {
		whole++
		if block.Type == kind {
			blocks = append(blocks, block.Bytes)
		}
	}
	if begun := bytes.Count(data, []byte("-----BEGIN ")); begun > whole {
		return nil, fmt.Errorf("of the PEM blocks that begin in it (%d), not all are whole (%d); write it again, beside its place, and move it there", begun, whole)
	}
	if whole > 0 && begunIn(rest) {
		return nil, fmt.Errorf("after its whole PEM blocks (%d) not all are whole: another one has just begun; write it again, beside its place, and move it there", whole)
	}
	return blocks, nil
}

// begunIn reports whether a line of what follows the last whole block may be the start
// of "-----BEGIN", which a writer has not got further with.
func begunIn(rest []byte) bool {
	for line := range bytes.Lines(rest) {
		if bytes.HasPrefix(bytes.TrimLeft(line, " \t\r"), []byte("-")) {
			return true
		}
	}
	return false
}

// absent is why data has no PEM block of some type: it has none at all of anything, or
// of anything else, or none that is whole.
func absent(data []byte) Reason {
	if len(bytes.TrimSpace(data)) == 0 {
		return ReasonEmpty
	}
	if block, _ := pem.Decode(data); block != nil {
		return ReasonEmpty
	}
	return ReasonMalformed
}
