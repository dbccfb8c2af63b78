//go:build !race

package keystore_test

// slowdown is how much longer things may take than they should.
const slowdown = 1
