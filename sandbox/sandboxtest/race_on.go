//go:build race

package sandboxtest

// raced says that the race detector is in this binary: it needs memory and time that limits do not leave it.
const raced = true
