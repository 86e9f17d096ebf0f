package runner

import (
	"context"
	"fmt"
	"os"
	"slices"

	"github.com/millrace/millrace/job"
	"github.com/millrace/millrace/sandbox"
)

// Child makes this process a runner, and never returns, if it was started as one. A program that starts runners calls it first.
func Child() {
	if !sandbox.IsChild() {
		return
	}
	if err := sandbox.Enter(); err != nil {
		os.Exit(1) // who started it is told why
	}
	if slices.Contains(os.Args, string(job.Wasm)) {
		_ = sandbox.Rehearse(context.Background()) // what is wrong, the guest will find
	}
	if err := serveInherited(context.Background()); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(0)
}

// serveInherited serves the agent whose socket and memory were inherited as descriptors 3 and 4.
func serveInherited(ctx context.Context) error {
	f := os.NewFile(4, "memory")
	mem, err := MapMemory(f)
	if err != nil {
		return err
	}
	if err := f.Close(); err != nil {
		return err
	}
	conn, err := NewConn(os.NewFile(3, "agent"))
	if err != nil {
		return err
	}
	return Serve(ctx, conn, mem, nil)
}
