package admin

import (
	"bytes"
	"context"
	"errors"
	"net/http"
	"reflect"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/mtlsproxy/mtlsproxy/service/admin/api"
)

// privateKey stands for one.
const privateKey = "-----BEGIN PRIVATE KEY-----"

func staged() api.Stage {
	return api.Stage{Identity: "default", Cert: []byte("certificate"), Key: []byte(privateKey), CA: []byte("anchors")}
}

func TestWhatIsStagedReachesTheBackend(t *testing.T) {
	var got api.Stage
	b := &fake{stage: func(s api.Stage) (api.Staged, error) {
		got = api.Stage{Identity: s.Identity, Cert: bytes.Clone(s.Cert), Key: bytes.Clone(s.Key), CA: bytes.Clone(s.CA)}
		return api.Staged{Identity: s.Identity, Certificate: api.Certificate{Serial: "4d2a"}}, nil
	}}
	w := start(t, b)
	w.uid.Store(operator)
	out, err := w.api.Stage(t.Context(), staged())
	if err != nil || out.Serial != "4d2a" || !reflect.DeepEqual(got, staged()) {
		t.Errorf("got %+v, %v; the backend got %q", out, err, got.Cert)
	}
}

func TestTheLongestStageIsTaken(t *testing.T) {
	w := start(t, &fake{})
	w.uid.Store(operator)
	const around = len(`{"identity":"default","pkcs12":""}`)
	s := api.Stage{Identity: "default", PKCS12: make([]byte, (api.MaxStage-around)/4*3)}
	if _, err := w.api.Stage(t.Context(), s); err != nil {
		t.Error(err)
	}
	s.PKCS12 = append(s.PKCS12, make([]byte, 6)...)
	_, err := w.api.Stage(t.Context(), s)
	if e, ok := errors.AsType[*api.Error](err); !ok || e.Class != api.TooLarge {
		t.Errorf("a longer one: %v", err)
	}
}

func TestSecretsAreOverwrittenOnceTheyAreUsed(t *testing.T) {
	for _, failure := range []error{nil, &api.Error{Class: api.Refused}, errors.New("broken")} {
		var kept api.Stage
		b := &fake{stage: func(s api.Stage) (api.Staged, error) {
			kept = s
			return api.Staged{}, failure
		}}
		w := start(t, b)
		w.uid.Store(operator)
		_, err := w.api.Stage(t.Context(), staged())
		if (err == nil) != (failure == nil) {
			t.Fatal(err)
		}
		if left := bytes.Trim(kept.Key, "\x00"); len(kept.Key) != len(privateKey) || len(left) > 0 {
			t.Errorf("with the error %v the key is %q", failure, kept.Key)
		}
	}
}

// What an operator's change is an event of must not tell what is secret in it.
func TestSecretsAreNeitherLoggedNorTold(t *testing.T) {
	const encoded = "LS0tLS1CRUdJTiBQUklWQVRFIEtFWS0tLS0t" // the secret, as JSON has it
	for name, b := range map[string]*fake{
		"done": {},
		"refused": {stage: func(api.Stage) (api.Staged, error) {
			return api.Staged{}, &api.Error{Class: api.Refused, Message: "no"}
		}},
		"broken": {stage: func(s api.Stage) (api.Staged, error) { return api.Staged{}, errors.New("staging " + s.String()) }},
		"panic":  {stage: func(s api.Stage) (api.Staged, error) { panic(s) }},
	} {
		w := start(t, b)
		for _, body := range []string{
			`{"identity":"default","cert":"eA==","key":"` + encoded + `"}`,
			`{"identity":"default","cert":"eA==","key":"` + encoded + `!"}`,
			`{"identity":"default","cert":"eA==","key":"` + encoded + `"`,
			`{"identity":"default","cert":5,"key":"` + encoded + `"}`,
			`{"identity":"default","key":"` + encoded + `"}`,
		} {
			_, answer := w.ask(t, operator, http.MethodPost, "/v1/certs/stage", body)
			for _, text := range []string{answer, w.log.String()} {
				if strings.Contains(text, "PRIVATE") || strings.Contains(text, encoded[:20]) {
					t.Errorf("%s: %s", name, text)
				}
			}
		}
		if n := strings.Count(w.log.String(), "subject=default"); n != 1 && name != "panic" {
			t.Errorf("%s: %d events: %s", name, n, w.log)
		}
	}
}

func TestProbesRunOneAtATime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		first, goOn := true, make(chan struct{})
		w := startPipes(t, &fake{probe: func(_ context.Context, name string) (api.Probed, error) {
			if first {
				first = false
				<-goOn
			}
			return api.Probed{Name: name}, nil
		}})
		answered := make(chan int, 1)
		go func() {
			resp, _ := w.ask(t, operator, http.MethodPost, "/v1/certs/probe", `{"name":"a"}`)
			answered <- resp.StatusCode
		}()
		synctest.Wait()
		begin := time.Now()
		resp, body := w.ask(t, operator, http.MethodPost, "/v1/certs/probe", `{"name":"b"}`)
		if resp.StatusCode != http.StatusServiceUnavailable || !strings.Contains(body, "other probes are under way") || time.Since(begin) != turnTime {
			t.Errorf("%s after %v: %s", resp.Status, time.Since(begin), body)
		}
		close(goOn)
		if status := <-answered; status != http.StatusOK {
			t.Errorf("the first: %d", status)
		}
		if resp, _ := w.ask(t, operator, http.MethodPost, "/v1/certs/probe", `{"name":"c"}`); resp.StatusCode != http.StatusOK {
			t.Errorf("the next: %s", resp.Status)
		}
	})
}
