// Package prom reads metrics in the Prometheus text format, and tells from two
// readings what happened between them.
//
// It reads what an exporter writes (https://prometheus.io/docs/instrumenting/exposition_formats/);
// it skips comments and timestamps and knows no types. A Sample is never changed
// once it was read, and may be used from several goroutines.
package prom
