package agent

import (
	"context"
	"os"

	"github.com/millrace/millrace/job"
	"github.com/millrace/millrace/sandbox"
)

// RunnerArg is the argument by which the executable that a jail runs again knows that it is a runner.
const RunnerArg = "runner"

// Jailed returns a Launcher of jailed runners for programs of an engine: children of this process that run this executable again. Config
// says what jail; its Args and Files are filled in.
func Jailed(config sandbox.Config, engine job.Engine) Launcher {
	return func(_ context.Context, socket, memory *os.File) (Process, error) {
		c := config
		c.Args = []string{RunnerArg, string(engine)}
		c.Files = []*os.File{socket, memory}
		p, err := sandbox.Start(&c)
		if err != nil {
			return nil, err
		}
		return jailed{p}, nil
	}
}

type jailed struct{ p *sandbox.Process }

func (j jailed) Kill() { j.p.Kill() }

func (j jailed) Wait() Exit {
	x := j.p.Wait()
	text := x.String()
	if x.Stderr != "" {
		text += ": " + firstLine(x.Stderr)
	}
	return Exit{OOM: x.OOM, Text: text}
}

// firstLine returns the first line of what a runner printed when it died; what follows are stacks.
func firstLine(s string) string {
	for i, c := range s {
		if c == '\n' {
			return s[:i]
		}
	}
	return s
}
