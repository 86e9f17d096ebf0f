package main

import (
	"fmt"
	"os"
	"slices"

	"github.com/alecthomas/kong"

	"github.com/millrace/millrace/job/jobfile"
)

// A configFile names a file that says what flags say, by their names. Flags that are given come first.
type configFile string

// notInFile are flags that a file cannot have.
var notInFile = []string{"help", "config"}

// BeforeResolve has the other flags of the command looked up in the file.
func (configFile) BeforeResolve(ctx *kong.Context, trace *kong.Path) error {
	name := string(ctx.FlagValue(trace.Flag).(configFile))
	text, err := os.ReadFile(name)
	if err != nil {
		return fmt.Errorf("%s: %w", name, cause(err))
	}
	var known []string
	for _, f := range ctx.Selected().Flags {
		if !slices.Contains(notInFile, f.Name) {
			known = append(known, f.Name)
		}
	}
	settings, err := jobfile.Settings(name, text, known)
	if err != nil {
		return err
	}
	ctx.AddResolver(kong.ResolverFunc(func(_ *kong.Context, _ *kong.Path, flag *kong.Flag) (any, error) {
		return settings[flag.Name], nil
	}))
	return nil
}
