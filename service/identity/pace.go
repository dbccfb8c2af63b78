package identity

import "time"

// patience is how long files may be unusable before that is worth an event: a new
// certificate beside an old key is what every rotation looks like for a moment.
const patience = 10 * time.Second

// retryAfter is how long after the nth failure in a row the files are tried again. The
// fifth of the early tries comes when patience is at its end.
func retryAfter(n int) time.Duration {
	switch n {
	case 1:
		return 500 * time.Millisecond
	case 2:
		return time.Second
	case 3:
		return 2 * time.Second
	case 4:
		return 5 * time.Second
	case 5:
		return patience - 8500*time.Millisecond
	}
	return 30 * time.Second
}

// Due returns when the files should be tried, or the certificate looked at, although
// nobody has said that something changed. every is how often that is done as long as
// all is well.
func (i *Identity) Due(every time.Duration) time.Time {
	i.mu.Lock()
	defer i.mu.Unlock()
	due := i.tried.Add(every)
	switch {
	case i.tried.IsZero():
		return i.tried
	case i.tries > 0:
		due = i.tried.Add(retryAfter(i.tries))
		if end := i.state.Since.Add(patience); !i.state.Lasting && end.Before(due) {
			due = end // however often they were tried because they changed
		}
	}
	if next := i.state.Disk; i.tries > 0 && next != nil && next.NotBefore.After(i.tried) && next.NotBefore.Before(due) {
		due = next.NotBefore // it may be all that it waits for
	}
	if turn := i.turn(); !turn.IsZero() && turn.Before(due) {
		due = turn
	}
	if s := i.state.Staged; s != nil && s.Time.Add(stagedFor).Before(due) {
		due = s.Time.Add(stagedFor)
	}
	return due
}
