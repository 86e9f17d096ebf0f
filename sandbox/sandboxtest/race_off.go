//go:build !race

package sandboxtest

// Raced says that the race detector is in this binary: it needs memory and time that limits do not leave it.
const Raced = false
