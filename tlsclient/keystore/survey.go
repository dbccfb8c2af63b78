package keystore

import (
	"crypto/x509/pkix"
	"encoding/asn1"
	"errors"
	"math"
)

// surveyed is what can be told of a PKCS #12 store without a passphrase.
type surveyed struct {
	checked   bool  // it has an integrity check
	encrypted bool  // something in it is encrypted
	rounds    int64 // of key derivation, all together
}

// The structures of RFC 7292 4, as far as they say what opening a store costs.
type (
	pfx struct {
		Version int
		Content content
		MAC     mac `asn1:"optional"`
	}
	content struct {
		Type asn1.ObjectIdentifier
		Data asn1.RawValue `asn1:"tag:0,explicit,optional"`
	}
	mac struct {
		Digest struct {
			Algorithm pkix.AlgorithmIdentifier
			Digest    []byte
		}
		Salt   []byte
		Rounds int `asn1:"optional,default:1"`
	}
	encrypted struct {
		Version int
		Content struct {
			Type      asn1.ObjectIdentifier
			Algorithm pkix.AlgorithmIdentifier
			Data      []byte `asn1:"tag:0,optional"`
		}
	}
	bag struct {
		Type       asn1.ObjectIdentifier
		Value      asn1.RawValue   `asn1:"tag:0,explicit"`
		Attributes []asn1.RawValue `asn1:"set,optional"`
	}
	pbeParams struct {
		Salt   []byte
		Rounds int
	}
	pbmac1 struct {
		Derivation, MAC pkix.AlgorithmIdentifier
	}
)

// The object identifiers of RFC 7292 and RFC 9579, dotted.
const (
	oidEncrypted   = "1.2.840.113549.1.7.6"
	oidKey         = "1.2.840.113549.1.12.10.1.1"
	oidShroudedKey = "1.2.840.113549.1.12.10.1.2"
	oidPBMAC1      = "1.2.840.113549.1.5.14"
)

// survey looks over a PKCS #12 store.
func survey(der []byte) (*surveyed, error) {
	var p pfx
	if err := parse(der, &p); err != nil {
		return nil, err
	}
	s := new(surveyed)
	if a := p.MAC.Digest.Algorithm; len(a.Algorithm) > 0 {
		s.checked = true
		if err := s.mac(a, p.MAC.Rounds); err != nil {
			return nil, err
		}
	}
	safe, err := octets(p.Content.Data)
	if err != nil {
		return nil, err
	}
	var contents []content
	if err := parse(safe, &contents); err != nil {
		return nil, err
	}
	for _, c := range contents {
		if err := s.content(c); err != nil {
			return nil, err
		}
	}
	return s, nil
}

// octets unwraps the OCTET STRING in an explicitly tagged value.
func octets(v asn1.RawValue) (b []byte, err error) {
	err = parse(v.Bytes, &b)
	return b, err
}

func (s *surveyed) mac(a pkix.AlgorithmIdentifier, rounds int) error {
	if !is(a, oidPBMAC1) {
		return s.spend(rounds)
	}
	var p pbmac1
	if err := parse(a.Parameters.FullBytes, &p); err != nil {
		return err
	}
	return s.derivation(p.Derivation)
}

func (s *surveyed) content(c content) error {
	if c.Type.String() == oidEncrypted {
		var e encrypted
		if err := parse(c.Data.Bytes, &e); err != nil {
			return err
		}
		return s.encryption(e.Content.Algorithm)
	}
	plain, err := octets(c.Data)
	if err != nil {
		return err
	}
	var bags []bag
	if err := parse(plain, &bags); err != nil {
		return err
	}
	for _, b := range bags {
		isKey, isShrouded := b.Type.String() == oidKey, b.Type.String() == oidShroudedKey
		if (isKey || isShrouded) && len(b.Value.Bytes) > maxKey {
			return errors.New("a private key that is larger than any of use")
		}
		if !isShrouded {
			continue
		}
		var k encryptedKey
		if err := parse(b.Value.Bytes, &k); err != nil {
			return err
		}
		if err := s.encryption(k.Algorithm); err != nil {
			return err
		}
	}
	return nil
}

func (s *surveyed) encryption(a pkix.AlgorithmIdentifier) error {
	s.encrypted = true
	if !is(a, oidPBES2) {
		var p pbeParams
		if err := parse(a.Parameters.FullBytes, &p); err != nil {
			return err
		}
		return s.spend(p.Rounds)
	}
	var p pbes2
	if err := parse(a.Parameters.FullBytes, &p); err != nil {
		return err
	}
	return s.derivation(p.Derivation)
}

func (s *surveyed) derivation(a pkix.AlgorithmIdentifier) error {
	if !is(a, oidPBKDF2) {
		return nil // the library knows no other
	}
	var p pbkdf2Params
	if err := parse(a.Parameters.FullBytes, &p); err != nil {
		return err
	}
	return s.spend(p.Rounds)
}

// spend adds to the bill.
func (s *surveyed) spend(rounds int) error {
	if rounds < 1 {
		return errors.New("a number of rounds that is none")
	}
	s.rounds += min(int64(rounds), math.MaxInt32) // so that a sum of them cannot wrap
	return nil
}
