package main

import (
	"errors"
	"fmt"

	"github.com/millrace/millrace/job"
)

// A runCmd runs a job.
type runCmd struct {
	jobFlags
	outputFlags
	diskFlags
}

func (c *runCmd) Help() string {
	return `PROGRAM is a directory with a Go main package, which is built; a .wasm module; a Linux executable; a builtin
(builtin:words); or a job file (.yaml) that says all of this, which flags override.

Without -o, or with -o -, results are printed. With it they are written as OUTPUT/part-r-00000 and so on, all of them or
none, and OUTPUT/_manifest.json lists them.

Exits 0 if all went well, 3 if it did but for failed objects within the tolerance, 2 after an error, 130 when cancelled.

--deterministic=check is for finding out whether a program gives the same results each time: it exits 2 and commits nothing if
an object comes out otherwise when it is mapped again.

  millrace run ./wordcount -i s3://mail/2026/ -o s3://out/words -r 8
  millrace run builtin:words -i ./texts --limit 20
  millrace run ./count.wasm -i s3://mail/ --reducer sum -o s3://out/counts`
}

func (c *runCmd) Run(a *app) error {
	spec, program, err := c.jobFlags.spec()
	if err != nil {
		return err
	}
	c.outputFlags.apply(spec)
	if err := validate(spec); err != nil {
		return err
	}
	var cleanup func()
	if len(spec.Groups) > 0 {
		cleanup, err = a.programs(spec, c.Engine)
	} else {
		spec.Program, cleanup, err = a.program(program, c.Engine, spec.Program)
	}
	if err != nil {
		return err
	}
	defer cleanup()
	result, err := a.execute(spec, &execution{outputFlags: &c.outputFlags, disks: &c.diskFlags, clocks: true, noun: "record"})
	if err != nil {
		return err
	}
	if result.Counters.Failed > 0 {
		return exit(exitTolerated)
	}
	return nil
}

// jobFlags describe a job.
type jobFlags struct {
	Program string   `arg:"" help:"A Go package directory, a .wasm file, an executable, builtin:NAME or a job file."`
	Input   []string `group:"input" short:"i" sep:"none" placeholder:"URI" help:"Where to read; may be repeated."`
	inputFlags

	Output   string          `group:"output" short:"o" placeholder:"URI" help:"Where to write; - or nothing prints."`
	Reducers int             `group:"output" short:"r" placeholder:"N" help:"Partitions of the result, a part each (default 1)."`
	Format   job.Format      `group:"output" placeholder:"text|jsonl|arrow|parquet" help:"How records are written (default text: key TAB value)."`
	Compress job.Compression `group:"output" placeholder:"gzip|zstd" help:"Compress the parts of text and jsonl."`
	Single   string          `group:"output" placeholder:"NAME" help:"Put all parts together in one object of that name (text and jsonl)."`

	Partition job.Partitioning `group:"output" placeholder:"hash|range" help:"What decides the partition of a key (default hash); with range, the parts together are sorted."`

	Engine    job.Engine        `group:"program" placeholder:"wasm|native" help:"How a Go package is built and run (default wasm)."`
	Param     map[string]string `group:"program" short:"p" mapsep:"none" placeholder:"NAME=VALUE" help:"A parameter of the program; may be repeated."`
	Reducer   string            `group:"program" placeholder:"NAME" help:"Stock reducer of the lines that a program prints: ${reducers}. Some take arguments, as in top-k(10)."`
	Isolation job.Isolation     `group:"program" placeholder:"object|split" help:"Whether each object has a fresh instance of the program or the objects of a split share one (default object)."`
	OKExit    []int             `group:"program" name:"ok-exit" placeholder:"CODE" help:"Exit codes of a command that mean success (default 0)."`

	Deterministic job.Determinism `group:"program" placeholder:"check" help:"Map 1% of the objects again, WebAssembly also by an interpreter, and fail if one comes out otherwise."`

	Slots int `group:"other" placeholder:"N" help:"Objects mapped at once (default: one per core)."`
	limitFlags
	storeFlags
}

// spec returns the job that the flags and the job file describe, and how its program was named; "" if it has groups. Nothing is checked yet.
func (f *jobFlags) spec() (spec *job.Spec, program string, err error) {
	spec = new(job.Spec)
	if isJobFile(f.Program) {
		if spec, err = readJobFile(f.Program); err != nil {
			return nil, "", err
		}
	}
	if err := f.apply(spec); err != nil {
		return nil, "", err
	}
	if len(spec.Inputs) == 0 {
		return nil, "", errors.New("an input is missing: -i URI")
	}
	if len(spec.Groups) > 0 {
		return spec, "", nil
	}
	program = f.programName(spec)
	if spec.Program.Name == "" && spec.Program.Path == "" {
		spec.Program.Name = program
	}
	return spec, program, nil
}

// programName returns what the program is, as the user named it.
func (f *jobFlags) programName(spec *job.Spec) string {
	switch {
	case !isJobFile(f.Program):
		return f.Program
	case spec.Program.Engine == job.Builtin:
		return builtinPrefix + spec.Program.Name
	}
	return spec.Program.Path
}

func (f *jobFlags) apply(spec *job.Spec) error {
	if f.Engine != "" && f.Engine != job.Wasm && f.Engine != job.Native {
		return fmt.Errorf("--engine %s: neither wasm nor native", f.Engine)
	}
	if len(f.Input) > 0 {
		spec.Inputs = f.Input
	}
	override(&spec.Output, f.Output)
	override(&spec.Reducers, f.Reducers)
	override(&spec.Reducer, f.Reducer)
	override(&spec.Format, f.Format)
	override(&spec.Compress, f.Compress)
	override(&spec.Single, f.Single)
	override(&spec.Partition, f.Partition)
	override(&spec.Deterministic, f.Deterministic)
	override(&spec.Slots, f.Slots)
	override(&spec.Isolation, f.Isolation)
	if len(f.OKExit) > 0 {
		spec.OKExit = f.OKExit
	}
	for name, value := range f.Param {
		if spec.Params == nil {
			spec.Params = make(map[string]string)
		}
		spec.Params[name] = value
	}
	f.inputFlags.apply(spec)
	f.storeFlags.apply(&spec.Store)
	f.limitFlags.apply(spec)
	return nil
}
