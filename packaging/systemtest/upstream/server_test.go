package upstream

import (
	"crypto/tls"
	"crypto/x509"
	"io"
	"net"
	"net/http"
	"testing"
	"time"
)

func start(t *testing.T, calls chan<- string) (a *Authority, url string) {
	t.Helper()
	a, err := NewAuthority(time.Now())
	if err != nil {
		t.Fatal(err)
	}
	own, err := a.Server()
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error)
	go func() {
		done <- Serve(l, Options{Own: own, CA: a.PEM(), Begun: func() { calls <- "begun" }, Ended: func() { calls <- "ended" }})
	}()
	t.Cleanup(func() {
		l.Close()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	return a, "https://" + l.Addr().String()
}

func get(a *Authority, url string, certs ...tls.Certificate) (string, error) {
	anchors := x509.NewCertPool()
	anchors.AddCert(a.cert)
	client := &http.Client{Transport: &http.Transport{
		DisableKeepAlives: true,
		TLSClientConfig:   &tls.Config{RootCAs: anchors, Certificates: certs},
	}}
	answer, err := client.Get(url)
	if err != nil {
		return "", err
	}
	defer answer.Body.Close()
	body, err := io.ReadAll(answer.Body)
	return string(body), err
}

func TestWhoTellsTheNameInTheCertificateOfTheClient(t *testing.T) {
	a, url := start(t, nil)
	pair, err := a.Client("first")
	if err != nil {
		t.Fatal(err)
	}
	cert, err := tls.X509KeyPair(pair.Cert, pair.Key)
	if err != nil {
		t.Fatal(err)
	}
	body, err := get(a, url+"/who", cert)
	if err != nil || body != "first\n" {
		t.Errorf("got %q, %v", body, err)
	}
}

func TestAClientWithoutACertificateIsTurnedAway(t *testing.T) {
	a, url := start(t, nil)
	if body, err := get(a, url); err == nil {
		t.Errorf("got %q", body)
	}
}

func TestASlowRequestTellsOfItsBeginAndItsEnd(t *testing.T) {
	calls := make(chan string, 2)
	a, url := start(t, calls)
	pair, err := a.Client("first")
	if err != nil {
		t.Fatal(err)
	}
	cert, err := tls.X509KeyPair(pair.Cert, pair.Key)
	if err != nil {
		t.Fatal(err)
	}
	body, err := get(a, url+"/slow?for=1ms", cert)
	if err != nil || body != "ok\n" {
		t.Errorf("got %q, %v", body, err)
	}
	if first, second := <-calls, <-calls; first != "begun" || second != "ended" {
		t.Errorf("got %q, %q", first, second)
	}
}
