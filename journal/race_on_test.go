//go:build race

package journal

// raceEnabled says that the race detector is on: it allocates.
const raceEnabled = true
