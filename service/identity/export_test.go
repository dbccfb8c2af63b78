package identity

import "time"

// ExchangeByLink is how files are swapped where the file system cannot do it in one step.
var ExchangeByLink = exchangeByLink

// Watch watches what was set last, as the tender does before each look at what is due.
func (t *Tender) Watch() { t.watch() }

// Due returns who is to be tried, as the tender does after that.
func (t *Tender) Due(now time.Time) []string {
	names, _ := t.due(now)
	return names
}

// Prepare makes a tender that does nothing by itself.
func (t *Tender) Prepare() {
	t.asked, t.kick, t.closing = make(map[string]struct{}), make(chan struct{}, 1), make(chan struct{})
}
