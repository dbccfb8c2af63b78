package api

import (
	"fmt"
	"strings"
	"testing"
)

func TestAStageIsPrintedWithoutItsSecrets(t *testing.T) {
	s := Stage{Identity: "default", Key: []byte("secret"), PKCS12: []byte("secret")}
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%d"} {
		for _, v := range []any{s, &s, []Stage{s}, struct{ S Stage }{s}} {
			got := fmt.Sprintf(verb, v)
			if strings.Contains(got, "secret") || strings.Contains(got, "115 101") || strings.Contains(got, "736563726574") || strings.Contains(got, "0x73") {
				t.Errorf("%s of %T: %s", verb, v, got)
			}
		}
	}
}

func TestAStageHasEitherForm(t *testing.T) {
	x := []byte("x")
	for want, list := range map[string][]Stage{
		"":                       {{Cert: x, Key: x}, {Cert: x, Key: x, CA: x}, {PKCS12: x}, {PKCS12: x, CA: x}},
		`lacks "cert" and "key"`: {{}, {Cert: x}, {Key: x}, {CA: x}, {Cert: []byte{}, Key: x}},
		`has "pkcs12" beside`:    {{Cert: x, Key: x, PKCS12: x}, {Cert: x, PKCS12: x}, {Key: x, PKCS12: x}},
	} {
		for _, s := range list {
			if got := s.Flaw(); !strings.HasPrefix(got, want) || (want == "") != (got == "") {
				t.Errorf("cert %q, key %q, CA %q, PKCS#12 %q: %q, want %q", s.Cert, s.Key, s.CA, s.PKCS12, got, want)
			}
		}
	}
}
