package api

import (
	"fmt"
	"io"
	"time"
)

// Certificate is what there is to know of one X.509 certificate.
type Certificate struct {
	Serial    string    `json:"serial"` // hexadecimal
	Subject   string    `json:"subject"`
	Issuer    string    `json:"issuer"`
	SANs      []string  `json:"sans"`
	NotBefore time.Time `json:"not_before"`
	NotAfter  time.Time `json:"not_after"`
}

// The states of an Identity.
const (
	IdentityOK          = "ok"
	IdentityExpiring    = "expiring"    // not long from the end of its certificate
	IdentityFailing     = "failing"     // its files cannot be used, and what was loaded before serves on
	IdentityExpired     = "expired"     // its certificate has expired: nothing is sent with it
	IdentityUnavailable = "unavailable" // nothing is loaded
)

// Identity is a named client certificate, with what is loaded of it and what is in its
// files. Subject, Issuer, Serial, SANs, NotBefore, NotAfter, Loaded and Anchors are of
// what is loaded, and empty while nothing is.
type Identity struct {
	Name         string     `json:"name"`
	State        string     `json:"state"`                   // ok, expiring, failing, expired or unavailable
	Reason       string     `json:"reason,omitempty"`        // one word for why its files cannot be used
	Error        string     `json:"error,omitempty"`         // the same, in full
	FailingSince *time.Time `json:"failing_since,omitempty"` // when its files could first not be used
	Generation   uint64     `json:"generation"`              // that new connections are made with; 0: none is loaded
	Subject      string     `json:"subject"`
	Issuer       string     `json:"issuer"`
	Serial       string     `json:"serial"` // hexadecimal
	SANs         []string   `json:"sans"`
	NotBefore    time.Time  `json:"not_before"`
	NotAfter     time.Time  `json:"not_after"`
	Loaded       time.Time  `json:"loaded"`
	Anchors      int        `json:"anchors"` // trust anchors; 0 with "system"

	// OnDisk is what the certificate file holds if that is not what is loaded, be it of use
	// or not; nil if it is the same, or no certificate can be read from it.
	OnDisk *Certificate `json:"on_disk,omitempty"`
	InUse  []Use        `json:"in_use"`           // by connections of all its upstreams, the newest generation first
	Staged *Staged      `json:"staged,omitempty"` // what waits for commit or abort

	Checked  time.Time `json:"checked"`             // when its files were last read and found to be usable
	Changed  time.Time `json:"changed"`             // when its files last changed
	Watch    string    `json:"watch"`               // inotify or polling
	WatchWhy string    `json:"watch_why,omitempty"` // why it is not inotify

	Cert       string `json:"cert,omitempty"`       // path
	Key        string `json:"key,omitempty"`        // path
	PKCS12     string `json:"pkcs12,omitempty"`     // path, in place of Cert and Key
	Passphrase string `json:"passphrase,omitempty"` // path
	CA         string `json:"ca"`                   // path, or "system"
	CRL        string `json:"crl,omitempty"`        // path

	CRLUntil  *time.Time `json:"crl_until,omitempty"` // when the first of the revocation lists in use runs out
	Upstreams []string   `json:"upstreams"`           // that show it
}

// The ways in which the files of an Identity are watched.
const (
	WatchInotify = "inotify"
	WatchPolling = "polling"
)

// Use is how many live connections show one generation of an identity.
type Use struct {
	Generation  uint64     `json:"generation"`
	Serial      string     `json:"serial"` // hexadecimal
	NotAfter    time.Time  `json:"not_after"`
	Connections int        `json:"connections"`
	Until       *time.Time `json:"until,omitempty"` // when the last of them is closed at the latest; nil for the generation in place
}

// Stage is new files for an identity, to be tried before they are put in place. Either
// Cert and Key are given or PKCS12. What is encrypted opens with the identity's own
// passphrase file.
type Stage struct {
	Identity string `json:"identity"`
	Cert     []byte `json:"cert,omitempty"`   // PEM: leaf first, then intermediates
	Key      []byte `json:"key,omitempty"`    // PEM
	CA       []byte `json:"ca,omitempty"`     // PEM; empty: the trust anchors in place
	PKCS12   []byte `json:"pkcs12,omitempty"` // in place of Cert and Key
}

// MaxStage bounds the JSON of a Stage, in bytes. In it, every three bytes of a file
// take four.
const MaxStage = 1 << 20

// String implements fmt.Stringer.
func (s Stage) String() string { return s.Identity }

// Format implements fmt.Formatter: no verb shows what the files hold.
func (s Stage) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, s.Identity) }

// Clear overwrites what the files hold.
func (s Stage) Clear() {
	for _, b := range [][]byte{s.Cert, s.Key, s.CA, s.PKCS12} {
		clear(b)
	}
}

// Flaw says what is wrong with the form of a Stage: it has neither Cert and Key nor
// PKCS12, or some of both. It is empty if nothing is.
func (s Stage) Flaw() string {
	pair, bundle := len(s.Cert) > 0 && len(s.Key) > 0, len(s.PKCS12) > 0
	switch {
	case bundle && (len(s.Cert) > 0 || len(s.Key) > 0):
		return `has "pkcs12" beside "cert" or "key", in whose place it stands`
	case !bundle && !pair:
		return `lacks "cert" and "key", or "pkcs12" in their place`
	}
	return ""
}

// IdentityRef names an identity.
type IdentityRef struct {
	Identity string `json:"identity"`
}

// String implements fmt.Stringer.
func (r IdentityRef) String() string { return r.Identity }

// ProbeOf names what to probe.
type ProbeOf struct {
	Name string `json:"name"` // of an identity, for the endpoints of all its upstreams, or of an upstream; the identity if it is both
}

// String implements fmt.Stringer.
func (p ProbeOf) String() string { return p.Name }

// Staged is what has been staged for an identity.
type Staged struct {
	Identity string `json:"identity"`
	Certificate
	Anchors int       `json:"anchors"` // trust anchors it would have; 0 with "system"
	Time    time.Time `json:"time"`
	By      string    `json:"by"` // "uid 1000"
}

// The generations that a probe may show.
const (
	ProbedStaged = "staged"
	ProbedInUse  = "in use"
)

// Probed is what came of a handshake with each endpoint.
type Probed struct {
	Name      string           `json:"name"`     // that was asked for
	Identity  string           `json:"identity"` // that was shown
	Using     string           `json:"using"`    // staged or in use
	Serial    string           `json:"serial"`   // of the certificate shown, hexadecimal
	Endpoints []ProbedEndpoint `json:"endpoints"`
	OK        bool             `json:"ok"` // every endpoint is
}

// ProbeDoubtful is the class of an endpoint that has made its handshake although it
// accepts other CAs than ours: it may refuse every request.
const ProbeDoubtful = "doubtful"

// ProbedEndpoint is what came of a handshake with one endpoint.
type ProbedEndpoint struct {
	Upstream         string        `json:"upstream"`
	Endpoint         string        `json:"endpoint"`          // host:port as configured
	Address          string        `json:"address,omitempty"` // IP:port that was dialed
	OK               bool          `json:"ok"`                // the server is who it should be, and took the certificate
	Class            string        `json:"class,omitempty"`   // error class, such as tls_verify_failed, or ProbeDoubtful; empty when ok
	Error            string        `json:"error,omitempty"`
	ConnectSeconds   float64       `json:"connect_seconds"`
	HandshakeSeconds float64       `json:"handshake_seconds"`
	TLSVersion       string        `json:"tls_version"` // "1.2", "1.3" or empty
	Cipher           string        `json:"cipher"`      // suite, by its IANA name
	ALPN             string        `json:"alpn"`        // protocol chosen; empty: none
	Chain            []Certificate `json:"chain"`       // as the server sent it, its own first
	Asked            bool          `json:"asked"`       // the server asked for a client certificate
	Accepts          []string      `json:"accepts"`     // names of the CAs it says it accepts; empty: it named none, which means any
	Accepted         bool          `json:"accepted"`    // ours comes from one of them, or it named none
	Resumed          bool          `json:"resumed"`     // a second connection resumed the session of the first
}

// Committed says what a commit has done.
type Committed struct {
	Identity string `json:"identity"`
	Certificate
	Generation uint64   `json:"generation"` // that new connections are made with from now on
	Files      []string `json:"files"`      // written
	Message    string   `json:"message"`
}
