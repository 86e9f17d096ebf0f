package main

import (
	"errors"
	"fmt"
	"os"

	"github.com/millrace/millrace/job"
	"github.com/millrace/millrace/mapper/builtin"
)

// A grepCmd searches objects for lines.
type grepCmd struct {
	Pattern string   `arg:"" optional:"" help:"A regular expression in ripgrep's syntax, without look-around. With -e there is none here: all arguments are URIs."`
	URI     []string `arg:"" optional:"" help:"Where to search."`

	Regexp       []string `group:"search" short:"e" sep:"none" placeholder:"PATTERN" help:"Search for PATTERN; may be repeated, any of them matches."`
	IgnoreCase   bool     `group:"search" short:"i" help:"Ignore case."`
	Word         bool     `group:"search" short:"w" help:"Match whole words only."`
	FixedStrings bool     `group:"search" short:"F" help:"Patterns are plain text."`
	InvertMatch  bool     `group:"search" short:"v" help:"Lines that do not match."`
	MaxCount     int      `group:"search" short:"m" placeholder:"N" help:"Stop reading an object after N matching lines."`

	Count            bool   `group:"output" short:"c" xor:"form" help:"Print how many lines match in each object that has any."`
	FilesWithMatches bool   `group:"output" short:"l" xor:"form" help:"Print the names of objects that have a match."`
	JSON             bool   `group:"output" name:"json" xor:"form" help:"Print a JSON object for each matching line."`
	AfterContext     int    `group:"output" short:"A" placeholder:"N" help:"Print N lines after each match."`
	BeforeContext    int    `group:"output" short:"B" placeholder:"N" help:"Print N lines before each match."`
	Context          int    `group:"output" short:"C" placeholder:"N" help:"Print N lines around each match."`
	Uris             bool   `group:"output" name:"uri" help:"Print whole URIs, as is done for several inputs, instead of keys."`
	Sort             bool   `group:"output" help:"Print in the order of keys, not as found."`
	Color            string `group:"output" enum:"auto,always,never" default:"auto" help:"Colours: ${enum}."`
	Output           string `group:"output" short:"o" placeholder:"URI" help:"Write to a store instead of printing."`

	inputFlags
	outputFlags
	limitFlags
	storeFlags
	diskFlags
	Slots int `group:"other" placeholder:"N" help:"Objects searched at once (default: one per core)."`
}

func (c *grepCmd) Help() string {
	return `Prints KEY:LINE:TEXT for each line that matches, KEY being what follows the URI in the object's key.

Exits 0 if a line matched, 1 if none did, 2 after an error, also if only some objects could not be read.

  millrace grep -i 'invoice \d+' s3://mail/2026/
  millrace grep -F -l -e 'Subject: offer' -e 'Subject: quote' 's3://mail/**/*.eml'
  millrace grep -c error file:///var/log --exclude '**/*.gz'`
}

func (c *grepCmd) Run(a *app) error {
	patterns, uris, err := c.split()
	if err != nil {
		return err
	}
	prints := c.Output == "" || c.Output == "-"
	_, tty := terminal(a.stdout)
	params := &builtin.GrepParams{
		Patterns:   patterns,
		Fixed:      c.FixedStrings,
		IgnoreCase: c.IgnoreCase,
		Word:       c.Word,
		Invert:     c.InvertMatch,
		Count:      c.Count,
		Files:      c.FilesWithMatches,
		JSON:       c.JSON,
		MaxCount:   c.MaxCount,
		Before:     max(c.BeforeContext, c.Context),
		After:      max(c.AfterContext, c.Context),
		Color:      prints && !c.JSON && colored(c.Color, tty),
		Escape:     prints && tty && !c.RawOutput,
		URI:        c.Uris || len(uris) > 1,
	}
	params.Separate = prints && !params.JSON && !params.Count && !params.Files && params.Before+params.After > 0
	if err := params.Check(); err != nil {
		return err
	}
	spec := &job.Spec{
		Name:    "grep",
		Inputs:  uris,
		Output:  c.Output,
		Program: job.Program{Engine: job.Builtin, Name: "grep"},
		Params:  params.Encode(),
		Slots:   c.Slots,
	}
	c.inputFlags.apply(spec)
	c.outputFlags.apply(spec)
	c.limitFlags.apply(spec)
	c.storeFlags.apply(&spec.Store)
	if err := validate(spec); err != nil {
		return err
	}

	// grep makes what it prints safe for a terminal itself, so that its own colours stay.
	x := &execution{outputFlags: &c.outputFlags, disks: &c.diskFlags, sorted: c.Sort, safe: true, noun: "match", counter: "matching_lines"}
	if params.Separate {
		x.skip = separator
	}
	result, err := a.execute(spec, x)
	if err != nil {
		return err
	}
	switch {
	case result.Counters.Failed > 0:
		return exit(exitError)
	case result.Printed == 0 && result.Counters.Output == 0 && result.Counters.User["matching_lines"] == 0:
		return exit(exitNoMatch)
	}
	return nil
}

// separator stands between groups of lines, of one object and of different ones. The first group of all needs none.
const separator = "--\n"

// split tells patterns from URIs.
func (c *grepCmd) split() (patterns, uris []string, err error) {
	patterns, uris = c.Regexp, c.URI
	switch {
	case len(patterns) == 0 && c.Pattern == "" && len(uris) == 0:
		return nil, nil, errors.New("a pattern is missing (see millrace grep --help)")
	case len(patterns) == 0:
		patterns = []string{c.Pattern}
	case c.Pattern != "":
		uris = append([]string{c.Pattern}, uris...)
	}
	if len(uris) == 0 {
		return nil, nil, errors.New("a URI to search is missing (see millrace grep --help)")
	}
	for flag, n := range map[string]int{"-m": c.MaxCount, "-A": c.AfterContext, "-B": c.BeforeContext, "-C": c.Context} {
		if n < 0 {
			return nil, nil, fmt.Errorf("%s %d: must not be negative", flag, n)
		}
	}
	return patterns, uris, nil
}

// colored decides about colours.
func colored(when string, tty bool) bool {
	switch when {
	case "always":
		return true
	case "never":
		return false
	}
	return tty && os.Getenv("NO_COLOR") == "" && os.Getenv("TERM") != "dumb"
}
