package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/millrace/millrace/job"
	"github.com/millrace/millrace/job/jobfile"
)

// isJobFile reports whether a program is named by a job file.
func isJobFile(name string) bool {
	ext := filepath.Ext(name)
	return ext == ".yaml" || ext == ".yml"
}

// maxJobFile is a little more than what package jobfile takes, in bytes.
const maxJobFile = 1<<20 + 1

// readJobFile reads the job file of that name. A relative path of its program is relative to the file.
func readJobFile(name string) (*job.Spec, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, cause(err))
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, maxJobFile))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, cause(err))
	}
	spec, err := jobfile.Parse(name, text)
	if err != nil {
		return nil, err
	}
	if p := spec.Program.Path; p != "" && !filepath.IsAbs(p) {
		spec.Program.Path = filepath.Join(filepath.Dir(name), p)
	}
	groupsHere(spec, name)
	return spec, nil
}

// validate checks what flags, and a job file that is well-formed by itself, say together. A URI is named by itself, not by its place.
func validate(spec *job.Spec) error {
	err := jobfile.Validate(spec)
	if field, ok := errors.AsType[*jobfile.FieldError](err); ok && strings.HasPrefix(field.Field, "inputs[") {
		return field.Err
	}
	return err
}
