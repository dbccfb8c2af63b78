package journal

import (
	"fmt"
	"slices"
	"strings"
)

// A Message is a kind of event that operators can look up: journalctl -x shows the
// explanation below it, and MESSAGE_ID= selects all of its kind.
type Message struct {
	ID          string   // MESSAGE_ID: 128 bits in hexadecimal
	Event       string   // the value of the attribute "event"
	Attrs       []string // attributes that each event of this kind has
	Subject     string   // one line; it and the explanation may name fields, as @MTLS_ERROR@
	Manuals     []string // "mtlsproxyd(8)"
	Explanation string   // what it means, and what to do
}

// Messages returns all kinds of events that are explained.
func Messages() []Message {
	return slices.Concat(lifeMessages(), endMessages(), healthMessages(), tlsMessages(), upstreamMessages(),
		hostMessages(), adminMessages(), logMessages())
}

func messageIDs() map[string]string {
	ids := make(map[string]string)
	for _, m := range Messages() {
		ids[m.Event] = m.ID
	}
	return ids
}

// Catalog returns the message catalog for journalctl -x, as in
// https://systemd.io/CATALOG/.
func Catalog() []byte {
	var b strings.Builder
	b.WriteString("# What the events of mtlsproxy mean, and what to do. It is made of the table in\n" +
		"# the package journal, by: go test ./journal -run Catalog -update\n")
	for _, m := range Messages() {
		fmt.Fprintf(&b, "\n-- %s\nSubject: %s\nDefined-By: mtlsproxy\nSupport: none\n", m.ID, m.Subject)
		for _, manual := range m.Manuals {
			fmt.Fprintf(&b, "Documentation: man:%s\n", manual)
		}
		fmt.Fprintf(&b, "\n%s\n", m.Explanation)
	}
	return []byte(b.String())
}
