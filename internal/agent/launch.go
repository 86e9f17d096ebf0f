package agent

import (
	"time"

	"github.com/millrace/millrace/job"
	"github.com/millrace/millrace/sandbox"
)

// Memory of a runner beside that of its guest: the engine, compiled code, slabs, an output buffer.
const runnerMemory = 512 << 20

// guestMemory is what a guest may use where the job does not say.
const guestMemory = 256 << 20

// leastFile is the size of files that runners and guests may write whatever the job says: those in memory are among them.
const leastFile = 4 << 30

// shuffleMemory is what a runner may hold of records where the job does not say.
const shuffleMemory = 256 << 20

// PoolFor returns a pool of runners in jails such as the job of spec needs: those of a native program are others, and their size
// depends on its limits. The caller closes it.
func PoolFor(spec *job.Spec) *Pool { return poolFor(spec, nil) }

// poolFor is PoolFor for native programs that have these files of channels.
func poolFor(spec *job.Spec, channels []string) *Pool {
	c := sandbox.Config{
		Channels: channels,
		Native:   spec.Program.Engine == job.Native,
		Memory:   runnerMemory + or(spec.Limits.Memory, guestMemory) + 2*or(spec.Limits.Shuffle, shuffleMemory),
	}
	if spec.Limits.Spill > 0 {
		c.FileSize = max(spec.Limits.Spill, leastFile) // a runner keeps to the limit by itself; this holds one that does not
	}
	for _, l := range spec.Insecure {
		c.Insecure = append(c.Insecure, sandbox.Layer(l))
	}
	return NewPool(Jailed(c, spec.Program.Engine))
}

func or[T int64 | time.Duration](n, standard T) T {
	if n == 0 {
		return standard
	}
	return n
}
