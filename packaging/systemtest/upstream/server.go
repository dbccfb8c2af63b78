package upstream

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"time"
)

// longest bounds how long a request can ask the upstream to take.
const longest = time.Minute

// Options are what an upstream needs.
type Options struct {
	Own Pair
	CA  []byte // of the clients, in PEM
	// Begun and Ended are called around each slow request.
	Begun, Ended func()
}

// Serve answers on l, for clients with a certificate of the authority, until l is
// closed:
//
//	/          ok
//	/who       the common name of the client's certificate
//	/slow?for=3s  ok, after so long
func Serve(l net.Listener, o Options) error {
	cert, err := tls.X509KeyPair(o.Own.Cert, o.Own.Key)
	if err != nil {
		return fmt.Errorf("loading the certificate of the upstream: %w", err)
	}
	anchors := x509.NewCertPool()
	if !anchors.AppendCertsFromPEM(o.CA) {
		return errors.New("there is no certificate in the trust anchors of the upstream")
	}
	server := &http.Server{
		Handler:           handler(o),
		ReadHeaderTimeout: 10 * time.Second,
		ErrorLog:          log.New(io.Discard, "", 0), // connections that end are not its business
		TLSConfig: &tls.Config{
			MinVersion:   tls.VersionTLS12,
			Certificates: []tls.Certificate{cert},
			ClientAuth:   tls.RequireAndVerifyClientCert,
			ClientCAs:    anchors,
		},
	}
	if err := server.ServeTLS(l, "", ""); !errors.Is(err, net.ErrClosed) {
		return err
	}
	return nil
}

func handler(o Options) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("/", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, "ok") })
	mux.HandleFunc("/who", func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintln(w, r.TLS.PeerCertificates[0].Subject.CommonName) //nolint:gosec // no browser reads it
	})
	mux.HandleFunc("/slow", func(w http.ResponseWriter, r *http.Request) {
		d, err := time.ParseDuration(r.FormValue("for"))
		if err != nil || d < 0 || d > longest {
			http.Error(w, "for=3s says how long", http.StatusBadRequest)
			return
		}
		o.Begun()
		defer o.Ended()
		select {
		case <-time.After(d):
			fmt.Fprintln(w, "ok")
		case <-r.Context().Done():
		}
	})
	return mux
}
