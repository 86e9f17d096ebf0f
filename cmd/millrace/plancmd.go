package main

import (
	"encoding/json"
	"fmt"

	"github.com/millrace/millrace/internal/local"
)

// A planCmd says what a job would do.
type planCmd struct {
	jobFlags
	nearFlags
	JSON bool `group:"output" name:"json" help:"Print JSON."`
}

func (c *planCmd) Help() string {
	return `Lists the inputs as "run" with the same arguments would, and prints what it comes to. Nothing is built, read or written.`
}

func (c *planCmd) Run(a *app) error {
	spec, program, err := c.jobFlags.spec()
	if err != nil {
		return err
	}
	if len(spec.Groups) > 0 {
		err = existGroups(spec)
	} else {
		err = exists(program)
	}
	if err != nil {
		return err
	}
	if err := validate(spec); err != nil {
		return err
	}
	s, err := local.Plan(a.ctx, spec, &local.Options{Schemes: schemes(), Stdout: a.stdout, Where: c.nearFlags.where()})
	if err != nil {
		return err
	}
	if c.JSON {
		enc := json.NewEncoder(a.stdout)
		enc.SetIndent("", "  ")
		return enc.Encode(struct {
			*local.Summary
			graph
		}{s, graph{spec.Groups, spec.Channels}})
	}
	fmt.Fprintf(a.stdout, "objects    %s\n", count(s.Objects))
	fmt.Fprintf(a.stdout, "bytes      %s (%s)\n", count(s.Bytes), bytes(s.Bytes))
	fmt.Fprintf(a.stdout, "largest    %s\n", bytes(s.Largest))
	fmt.Fprintf(a.stdout, "archived   %s\n", count(s.Archived))
	fmt.Fprintf(a.stdout, "markers    %s\n", count(s.Markers))
	fmt.Fprintf(a.stdout, "splits     %s\n", count(int64(s.Splits)))
	if s.Reducers > 0 { // else it is for the program to say, which is not run
		fmt.Fprintf(a.stdout, "reducers   %s\n", count(int64(s.Reducers)))
	}
	printGraph(a.stdout, spec)
	fmt.Fprintf(a.stdout, "requests   about %s\n", count(s.Requests))
	for _, n := range s.Nodes {
		fmt.Fprintf(a.stdout, "node       %s: %s splits, %s\n", n.Node, count(int64(n.Splits)), bytes(n.Bytes))
	}
	if s.Unlocated != "" {
		fmt.Fprintf(a.stdout, "nodes      not known: %s\n", visible(s.Unlocated))
	}
	_, err = fmt.Fprintf(a.stdout, "plan       %s\n", s.Digest)
	return err
}
