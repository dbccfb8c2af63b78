// Package top shows what a daemon does just now: rates, latencies, connections,
// certificates and last errors, from two readings of its metrics and its status.
//
// A Source reads, Compare makes a Frame of two readings, and a Screen draws it; a
// Model is all of that on a terminal. Nothing here touches a terminal by itself. A
// Source belongs to one goroutine at a time; readings and frames are never changed
// once they are made.
package top
