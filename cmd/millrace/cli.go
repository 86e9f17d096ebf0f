package main

import (
	"context"
	"errors"
	"io"
	"strings"

	"github.com/alecthomas/kong"
	kongcompletion "github.com/jotaen/kong-completion"

	"github.com/millrace/millrace/reducer"
)

const description = `Search and process millions of objects where they lie.

  millrace grep -i 'invoice \d+' s3://mail/2026/
  millrace run ./wordcount -i s3://mail/ -o s3://out/words -r 8

A URI is s3://bucket/prefix, swift://container/prefix, file:///dir or a path like ./dir; * ? [a-z] {a,b} and ** make it a pattern.`

// A cli is the command line: one field per command.
type cli struct {
	Grep       grepCmd                   `cmd:"" help:"Print the lines of objects that match a pattern."`
	Run        runCmd                    `cmd:"" help:"Run a MapReduce job."`
	Plan       planCmd                   `cmd:"" help:"Say what a job would read, and run nothing."`
	Store      storeCmd                  `cmd:"" help:"List, read, write, probe and clean stores."`
	Cluster    clusterCmd                `cmd:"" help:"Begin a cluster, join one, say how it is."`
	Serve      serveCmd                  `cmd:"" help:"Lead the jobs of a cluster, or stand by."`
	Doctor     doctorCmd                 `cmd:"" help:"Say what works on this machine, what is missing and what to do."`
	Version    versionCmd                `cmd:"" help:"Print the version."`
	Completion kongcompletion.Completion `cmd:"" help:"Print what a shell needs to complete millrace's command lines."`
}

// An app is what commands work with.
type app struct {
	ctx    context.Context
	stdin  io.Reader
	stdout io.Writer
	stderr io.Writer
}

// Exit codes. grep has its own meaning of 1: nothing matched.
const (
	exitOK        = 0
	exitNoMatch   = 1
	exitError     = 2
	exitTolerated = 3   // committed, with failed objects within the tolerance
	exitCancelled = 130 // as shells report SIGINT
)

// An exit ends the process with a code and without a word.
type exit int

func (e exit) Error() string { return "exit" }

// run parses args, runs the command that they name and returns the exit code.
func run(args []string, stdin io.Reader, stdout, stderr io.Writer) (code int) {
	defer func() {
		// kong ends the process for --help; here it unwinds to this function.
		if r := recover(); r != nil {
			e, ok := r.(exit)
			if !ok {
				panic(r)
			}
			code = int(e)
		}
	}()
	parser := kong.Must(&cli{},
		kong.Name("millrace"),
		kong.Description(description),
		kong.Writers(stdout, stderr),
		kong.Exit(func(code int) { panic(exit(code)) }),
		kong.ConfigureHelp(kong.HelpOptions{Compact: true, FlagsLast: true, WrapUpperBound: 100}),
		kong.WithHyphenPrefixedParameters(true),
		kong.Vars{"reducers": reducer.Operations},
		kong.ExplicitGroups([]kong.Group{
			{Key: "search", Title: "Search:"},
			{Key: "input", Title: "Input:"},
			{Key: "output", Title: "Output:"},
			{Key: "program", Title: "Program:"},
			{Key: "limits", Title: "Limits, per object:"},
			{Key: "store", Title: "Store:"},
			{Key: "addresses", Title: "Addresses:"},
			{Key: "engine", Title: "Another engine:"},
			{Key: "other", Title: "Other:"},
		}),
	)
	kongcompletion.Register(parser)
	if len(args) == 0 {
		args = []string{"--help"}
	}
	kctx, err := parser.Parse(args)
	if err != nil {
		return report(stderr, usage(err))
	}
	ctx, stop := context.Background(), func() {}
	if _, sees := kctx.Selected().Target.Addr().Interface().(daemon); !sees {
		ctx, stop = interrupts(ctx, stderr)
	}
	defer stop()
	a := &app{ctx: ctx, stdin: stdin, stdout: stdout, stderr: stderr}
	err = kctx.Run(a)
	if err != nil && errors.Is(context.Cause(ctx), errCancelled) {
		warn(stderr, "cancelled")
		return exitCancelled
	}
	return report(stderr, err)
}

// usage makes an error of kong one that says where to look.
func usage(err error) error {
	var pe *kong.ParseError
	if !errors.As(err, &pe) {
		return err
	}
	text := err.Error()
	command := strings.Join(append([]string{"millrace"}, commandOf(pe.Context)...), " ")
	return errors.New(text + " (see " + command + " --help)")
}

// commandOf returns the names of the commands that were understood before the error.
func commandOf(ctx *kong.Context) []string {
	var names []string
	for _, p := range ctx.Path {
		if p.Command != nil {
			names = append(names, p.Command.Name)
		}
	}
	return names
}
