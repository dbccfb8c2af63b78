// Package limiter decides on admission: who may go on now, who waits, and who is
// told to come back later.
//
// A Rate bounds how often, by key; a Gate bounds how many at once, with a queue that
// is fair between keys; a Counter bounds connections in total and by key; Bytes
// bounds memory. Each is resized in place and forgets nothing on the way: what is
// inside stays inside, what was spent stays spent, and counters go on. In all of
// them a bound of zero or less is no bound.
//
// The package knows no requests and no callers, only keys. It reads no clock, starts
// no goroutine and sets no timer: the time comes with the call, and whoever waits
// brings the channels that end the wait. Everything may be used from several
// goroutines, but for a Ticket, a Seat and a Waiter, which belong to one.
package limiter
