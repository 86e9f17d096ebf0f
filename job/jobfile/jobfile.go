// Package jobfile reads job specifications from YAML, strictly, and checks specifications from wherever they come.
//
// A file is one document of at most 1 MiB: a mapping whose fields are those of job.Spec, by their JSON names.
//
//	name: words
//	inputs: ["s3://mail/2026/"]
//	output: s3://out/words
//	program: ./wordcount            # or a mapping: engine, name, path, digest, args
//	reducers: 8
//	limits: {memory: 64MiB, wall: 30s}
//	modified_since: 2026-01-01
//	tolerate: "1%"
//
// Nothing is guessed: unknown and repeated fields, aliases, anchors, tags and merge keys are refused; a string that YAML
// could take for something else must stand in quotes; ${…} is never expanded.
package jobfile

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"
	"unicode/utf8"

	"go.yaml.in/yaml/v3"

	"github.com/millrace/millrace/job"
)

const (
	maxSize  = 1 << 20 // bytes of a file
	maxDepth = 32      // of nested mappings and lists
)

// Parse reads the specification in data. Its errors begin with name and the position, name:line:column. What a file
// leaves out may come from elsewhere; Validate checks the whole.
func Parse(name string, data []byte) (*job.Spec, error) {
	root, err := document(data)
	p := &parser{at: map[string]*yaml.Node{}}
	spec := new(job.Spec)
	if err == nil {
		err = p.spec(root, spec)
	}
	if err == nil {
		err = check(spec)
	}
	var field *FieldError
	var pos *posError
	switch {
	case err == nil:
		return spec, nil
	case errors.As(err, &pos):
		return nil, fmt.Errorf("%s:%w", name, err)
	case errors.As(err, &field) && p.at[field.Field] != nil:
		return nil, fmt.Errorf("%s:%w", name, at(p.at[field.Field], "%w", err))
	}
	return nil, fmt.Errorf("%s: %w", name, err)
}

// A posError is an error at a place in the file.
type posError struct {
	line, column int // counted from 1; column 0 is not known
	err          error
}

func (e *posError) Error() string {
	if e.column == 0 {
		return fmt.Sprintf("%d: %v", e.line, e.err)
	}
	return fmt.Sprintf("%d:%d: %v", e.line, e.column, e.err)
}

func (e *posError) Unwrap() error { return e.err }

func at(n *yaml.Node, format string, args ...any) error {
	return &posError{n.Line, n.Column, fmt.Errorf(format, args...)}
}

// document returns the mapping of the one document in data.
func document(data []byte) (*yaml.Node, error) {
	switch {
	case len(data) > maxSize:
		return nil, fmt.Errorf("%d bytes: more than %d", len(data), maxSize)
	case !utf8.Valid(data):
		return nil, errors.New("not UTF-8")
	}
	dec := yaml.NewDecoder(bytes.NewReader(data))
	var doc, next yaml.Node
	err := dec.Decode(&doc)
	if err == io.EOF {
		return nil, errors.New("empty")
	}
	if err != nil {
		return nil, syntax(err)
	}
	if err := plain(doc.Content[0], 1); err != nil {
		return nil, err
	}
	switch err := dec.Decode(&next); {
	case err == nil:
		return nil, at(&next, "a second document: only one is read")
	case err != io.EOF:
		return nil, syntax(err)
	}
	return doc.Content[0], nil
}

// syntax makes an error of the YAML library one with a place, if it says which.
func syntax(err error) error {
	text := strings.TrimPrefix(err.Error(), "yaml: ")
	var line int
	if n, _ := fmt.Sscanf(text, "line %d:", &line); n == 1 {
		_, text, _ = strings.Cut(text, ": ")
		return &posError{line: line, err: errors.New(text)}
	}
	return errors.New(text)
}

// plain refuses what a specification has no use for, and too much depth.
func plain(n *yaml.Node, depth int) error {
	switch {
	case depth > maxDepth:
		return at(n, "nested deeper than %d", maxDepth)
	case n.Kind == yaml.AliasNode:
		return at(n, "aliases are not supported")
	case n.Anchor != "":
		return at(n, "anchors are not supported")
	case n.Style&yaml.TaggedStyle != 0:
		return at(n, "tags are not supported")
	case n.Tag == "!!merge":
		return at(n, "merge keys are not supported")
	}
	for _, c := range n.Content {
		if err := plain(c, depth+1); err != nil {
			return err
		}
	}
	return nil
}
