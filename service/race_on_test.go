//go:build race

package service_test

// raceEnabled says that the race detector is on: it makes sync.Pool forgetful on purpose.
const raceEnabled = true
