package local

import (
	"github.com/millrace/millrace/internal/agent"
	"github.com/millrace/millrace/job"
	"github.com/millrace/millrace/sandbox"
)

// Memory of a runner beside that of its guest: the engine, compiled code, slabs, an output buffer.
const runnerMemory = 512 << 20

// guestMemory is what a guest may use where the job does not say.
const guestMemory = 256 << 20

// shuffleMemory is what a runner may hold of records where the job does not say.
const shuffleMemory = 256 << 20

// launcher returns how this job's runners are started.
func (r *running) launcher() agent.Launcher {
	if r.opts.InProcess != nil {
		return agent.InProcess(r.opts.InProcess)
	}
	c := sandbox.Config{
		Native: r.spec.Program.Engine == job.Native,
		Memory: runnerMemory + or(r.spec.Limits.Memory, guestMemory) + 2*or(r.spec.Limits.Shuffle, shuffleMemory),
	}
	for _, l := range r.spec.Insecure {
		c.Insecure = append(c.Insecure, sandbox.Layer(l))
	}
	return agent.Jailed(c)
}

func or(n, standard int64) int64 {
	if n == 0 {
		return standard
	}
	return n
}
