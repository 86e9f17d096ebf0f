package main

// A doctorCmd looks at the machine.
type doctorCmd struct {
	URI []string `arg:"" optional:"" help:"Stores to try."`
	storeFlags
}

func (c *doctorCmd) Help() string {
	return `Tries each layer of the sandbox, a job of each engine, and the stores that are given. A line begins with "ok"; with "FAIL" if jobs
need it; with "no" if only native programs do. Exits 2 if anything failed.`
}

func (c *doctorCmd) Run(a *app) error { return a.diagnose(c) }
