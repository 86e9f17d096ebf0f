// Command millrace searches and processes the objects of S3 buckets and directories where they lie.
package main

import (
	"os"
	"runtime/debug"

	"github.com/millrace/millrace/internal/runner"
)

func main() {
	inside()
	runner.Child()
	debug.SetGCPercent(800) // the heap is small and what is read lies outside of it
	os.Exit(run(os.Args[1:], os.Stdin, os.Stdout, os.Stderr))
}
