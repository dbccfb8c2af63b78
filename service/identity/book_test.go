package identity_test

import (
	"context"
	"log/slog"
	"strings"
)

// Enabled implements slog.Handler.
func (b *book) Enabled(context.Context, slog.Level) bool { return true }

// Handle implements slog.Handler.
func (b *book) Handle(_ context.Context, r slog.Record) error {
	event, rest := "", ""
	r.Attrs(func(a slog.Attr) bool {
		if a.Key == "event" {
			event = a.Value.String()
		} else {
			rest += " " + a.Key + "=" + a.Value.String()
		}
		return true
	})
	b.mu.Lock()
	defer b.mu.Unlock()
	b.lines = append(b.lines, strings.TrimSpace(event+" "+r.Message+rest))
	return nil
}

// WithAttrs implements slog.Handler.
func (b *book) WithAttrs([]slog.Attr) slog.Handler { return b }

// WithGroup implements slog.Handler.
func (b *book) WithGroup(string) slog.Handler { return b }
