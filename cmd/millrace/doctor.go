package main

import "errors"

// A doctorCmd looks at the machine.
type doctorCmd struct {
	URI             []string `arg:"" optional:"" help:"Stores to try."`
	Sandbox         bool     `help:"Try to break out of the sandbox instead, layer by layer."`
	InsecureSandbox []string `placeholder:"LAYER" help:"With --sandbox: do without a layer, as jobs can; may be repeated."`
	storeFlags
}

func (c *doctorCmd) Help() string {
	return `Tries each layer of the sandbox, a job of each engine, and the stores that are given. A line begins with "ok"; with "FAIL" if jobs
need it; with "no" if only native programs do. Exits 2 if anything failed.

With --sandbox, real jails are started, and what runs in them tries to read and write files, connect, see and signal processes, take too much
memory and call what is forbidden: once with each layer alone, to see that it refuses, once without any, to see that it would have worked,
and once with all that jobs have.`
}

func (c *doctorCmd) Run(a *app) error {
	if c.Sandbox {
		findings, err := breakOut(a.ctx, c.InsecureSandbox)
		if err != nil {
			return err
		}
		return a.tell(findings)
	}
	if len(c.InsecureSandbox) > 0 {
		return errors.New("--insecure-sandbox says something only with --sandbox")
	}
	return a.diagnose(c)
}
