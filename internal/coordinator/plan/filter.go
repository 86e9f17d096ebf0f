package plan

import (
	"fmt"
	"strings"
	"time"

	"github.com/millrace/millrace/store"
)

// Names that belong to Millrace in an output, and are never input.
const (
	manifestName = "_manifest.json"
	workDir      = "_millrace/"
	failedPart   = "_failed/part-"
)

// A filter says which listed objects are input.
type filter struct {
	base             int // length of what the input's keys have in common
	meant            func(store.Key) bool
	include, exclude []pattern
	since            time.Time
}

// A pattern is a glob over the key below the input. Without a "/" it is one over the last segment of the key, as
// people are used to: *.eml means every message, at any depth.
type pattern struct {
	glob *store.Glob
	last bool
}

func (p pattern) match(below string) bool {
	if p.last {
		below = below[strings.LastIndexByte(below, '/')+1:]
	}
	return p.glob.Match(below)
}

func compile(globs []string) ([]pattern, error) {
	var ps []pattern
	for _, s := range globs {
		g, err := store.CompileGlob(s)
		if err != nil {
			return nil, err
		}
		ps = append(ps, pattern{glob: g, last: !strings.Contains(s, "/")})
	}
	return ps, nil
}

func newFilter(in Input, o *Options) (*filter, error) {
	f := &filter{base: len(in.URI.Base()), since: o.ModifiedSince}
	var err error
	if f.meant, err = in.URI.Matcher(); err != nil {
		return nil, err
	}
	if f.include, err = compile(o.Include); err != nil {
		return nil, fmt.Errorf("include: %w", err)
	}
	if f.exclude, err = compile(o.Exclude); err != nil {
		return nil, fmt.Errorf("exclude: %w", err)
	}
	return f, nil
}

// takes reports whether o is input.
func (f *filter) takes(o *store.Object) bool {
	if !f.meant(o.Key) || reserved(string(o.Key), f.base) || o.Modified.Before(f.since) {
		return false
	}
	below := string(o.Key[min(f.base, len(o.Key)):])
	for _, p := range f.exclude {
		if p.match(below) {
			return false
		}
	}
	for _, p := range f.include {
		if p.match(below) {
			return true
		}
	}
	return len(f.include) == 0
}

// reserved reports whether Millrace wrote the object under key beside the parts of an output: a manifest, working
// files, lists of failed objects. Those lists are input for who asks for _failed/ itself: only below base they are not.
func reserved(key string, base int) bool {
	if !strings.Contains(key, "_") {
		return false
	}
	return strings.HasSuffix("/"+key, "/"+manifestName) ||
		strings.HasPrefix(key, workDir) || strings.Contains(key, "/"+workDir) ||
		strings.HasPrefix(key[base:], failedPart) || strings.Contains(key[base:], "/"+failedPart)
}
