package jobfile

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"

	"github.com/millrace/millrace/job"
)

// A parser moves a document into a Spec.
type parser struct {
	at map[string]*yaml.Node // where each field's value stands, by its path: limits.memory, inputs[0]
}

// A setter takes the value of one field, whose path is given.
type setter func(n *yaml.Node, path string) error

func (p *parser) spec(n *yaml.Node, s *job.Spec) error {
	return p.mapping(n, "", map[string]setter{
		"name":           p.text(&s.Name),
		"inputs":         list(p, &s.Inputs, p.text),
		"include":        list(p, &s.Include, p.text),
		"exclude":        list(p, &s.Exclude, p.text),
		"modified_since": p.date(&s.ModifiedSince),
		"output":         p.text(&s.Output),
		"overwrite":      p.flag(&s.Overwrite),
		"work":           p.text(&s.Work),
		"program":        p.program(&s.Program),
		"params":         p.params(&s.Params),
		"reducers":       number(p, &s.Reducers),
		"reducer":        p.text(&s.Reducer),
		"format":         p.text((*string)(&s.Format)),
		"compress":       p.text((*string)(&s.Compress)),
		"single":         p.text(&s.Single),
		"partition":      p.text((*string)(&s.Partition)),
		"deterministic":  p.text((*string)(&s.Deterministic)),
		"limits":         p.limits(&s.Limits),
		"isolation":      p.text((*string)(&s.Isolation)),
		"tolerate":       p.tolerance(&s.Tolerate),
		"split":          number(p, &s.Split),
		"priority":       number(p, &s.Priority),
		"tenant":         p.text(&s.Tenant),
		"slots":          number(p, &s.Slots),
		"limit":          number(p, &s.Limit),
		"ok_exit":        list(p, &s.OKExit, func(to *int) setter { return number(p, to) }),
		"insecure":       list(p, &s.Insecure, p.text),
		"store": p.fields(map[string]setter{
			"no_sign_request": p.flag(&s.Store.NoSignRequest),
			"requester_pays":  p.flag(&s.Store.RequesterPays),
			"endpoint":        p.text(&s.Store.Endpoint),
			"region":          p.text(&s.Store.Region),
		}),
		"groups":   named(p, &s.Groups, p.group),
		"channels": named(p, &s.Channels, p.channel),
	})
}

func (p *parser) limits(to *job.Limits) setter {
	return p.fields(map[string]setter{
		"memory":     p.size(&to.Memory),
		"wall":       p.duration(&to.Wall),
		"cpu":        p.duration(&to.CPU),
		"output":     p.size(&to.Output),
		"records":    number(p, &to.Records),
		"reads":      number(p, &to.Reads),
		"read_bytes": p.size(&to.ReadBytes),
		"writes":     number(p, &to.Writes),
		"log":        p.size(&to.Log),
		"log_lines":  number(p, &to.LogLines),
		"shuffle":    p.size(&to.Shuffle),
		"spill":      p.size(&to.Spill),
	})
}

func (p *parser) program(to *job.Program) setter {
	path, whole := p.text(&to.Path), p.fields(map[string]setter{
		"engine": p.text((*string)(&to.Engine)),
		"name":   p.text(&to.Name),
		"path":   p.text(&to.Path),
		"digest": p.text(&to.Digest),
		"args":   list(p, &to.Args, p.text),
	})
	return func(n *yaml.Node, field string) error {
		switch n.Kind {
		case yaml.ScalarNode:
			return path(n, field)
		case yaml.MappingNode:
			return whole(n, field)
		}
		return at(n, "%s: want a path or a mapping, got %s", field, kind(n))
	}
}

func (p *parser) fields(fields map[string]setter) setter {
	return func(n *yaml.Node, path string) error { return p.mapping(n, path+".", fields) }
}

// mapping reads a mapping of the given fields; prefix is the path of the mapping.
func (p *parser) mapping(n *yaml.Node, prefix string, fields map[string]setter) error {
	return p.pairs(n, strings.TrimSuffix(prefix, "."), func(key, value *yaml.Node) error {
		set := fields[key.Value]
		if set == nil {
			hint := nearest(key.Value, slices.Sorted(maps.Keys(fields)))
			if hint != "" {
				hint = " (did you mean " + hint + "?)"
			}
			return at(key, "unknown field %q%s", prefix+key.Value, hint)
		}
		p.at[prefix+key.Value] = value
		return set(value, prefix+key.Value)
	})
}

func (p *parser) params(to *map[string]string) setter {
	return func(n *yaml.Node, path string) error {
		*to = map[string]string{}
		return p.pairs(n, path, func(key, value *yaml.Node) error {
			var v string
			if err := p.text(&v)(value, path+"."+key.Value); err != nil {
				return err
			}
			(*to)[key.Value] = v
			return nil
		})
	}
}

// pairs calls do for each pair of a mapping, and refuses keys that are repeated or no names.
func (p *parser) pairs(n *yaml.Node, path string, do func(key, value *yaml.Node) error) error {
	if n.Kind != yaml.MappingNode {
		if path == "" {
			return at(n, "want a mapping of fields, got %s", kind(n))
		}
		return at(n, "%s: want a mapping, got %s", path, kind(n))
	}
	seen := map[string]int{}
	for i := 0; i < len(n.Content); i += 2 {
		key, value := n.Content[i], n.Content[i+1]
		if key.Kind != yaml.ScalarNode {
			return at(key, "want the name of a field, got %s", kind(key))
		}
		if line := seen[key.Value]; line != 0 {
			return at(key, "field %q is given twice, first in line %d", key.Value, line)
		}
		seen[key.Value] = key.Line
		if err := do(key, value); err != nil {
			return err
		}
	}
	return nil
}

func list[T any](p *parser, to *[]T, item func(*T) setter) setter {
	return func(n *yaml.Node, path string) error {
		if n.Kind != yaml.SequenceNode {
			return at(n, "%s: want a list, got %s", path, kind(n))
		}
		*to = make([]T, len(n.Content))
		for i, c := range n.Content {
			field := fmt.Sprintf("%s[%d]", path, i)
			p.at[field] = c
			if err := item(&(*to)[i])(c, field); err != nil {
				return err
			}
		}
		return nil
	}
}

func (p *parser) text(to *string) setter {
	return func(n *yaml.Node, path string) error {
		if n.Kind != yaml.ScalarNode {
			return at(n, "%s: want a string, got %s", path, kind(n))
		}
		if n.Style == 0 && ambiguous(n) {
			if n.Value == "" {
				return at(n, `%s: want a string, got nothing: "" is the empty one`, path)
			}
			return at(n, "%s: want a string, got %s: put it in quotes: %q", path, kind(n), n.Value)
		}
		*to = n.Value
		return nil
	}
}

// ambiguous reports whether some version of YAML reads a plain scalar as something else than a string.
func ambiguous(n *yaml.Node) bool {
	if n.Tag != "!!str" {
		return true
	}
	switch strings.ToLower(n.Value) {
	case "y", "n", "yes", "no", "on", "off", "nan":
		return true
	}
	_, err := strconv.ParseFloat(n.Value, 64)
	return err == nil || strings.Contains(err.Error(), strconv.ErrRange.Error())
}

func (p *parser) flag(to *bool) setter {
	return func(n *yaml.Node, path string) error {
		switch {
		case n.Kind == yaml.ScalarNode && n.Style == 0 && n.Value == "true":
			*to = true
		case n.Kind == yaml.ScalarNode && n.Style == 0 && n.Value == "false":
			*to = false
		default:
			return at(n, "%s: want true or false, got %s", path, kind(n))
		}
		return nil
	}
}

func number[T int | int64](p *parser, to *T) setter {
	return func(n *yaml.Node, path string) error {
		if n.Kind != yaml.ScalarNode || n.Style != 0 || n.Tag == "!!str" && !ambiguous(n) {
			return at(n, "%s: want a whole number, got %s", path, kind(n))
		}
		v, err := strconv.ParseInt(n.Value, 10, 64)
		if err != nil || strconv.FormatInt(v, 10) != n.Value {
			return at(n, "%s: want a whole number in decimal digits, got %q", path, n.Value)
		}
		*to = T(v)
		return nil
	}
}

func (p *parser) size(to *int64) setter {
	return scalar(to, "a size like 64MiB", ParseSize)
}

func (p *parser) duration(to *time.Duration) setter {
	return scalar(to, "a duration like 30s", func(s string) (time.Duration, error) {
		d, err := time.ParseDuration(s)
		if err != nil {
			return 0, fmt.Errorf("%q is not a duration like 30s or 5m", s)
		}
		return d, nil
	})
}

func (p *parser) date(to *time.Time) setter {
	return scalar(to, "a date", ParseTime)
}

func (p *parser) tolerance(to *job.Tolerance) setter {
	return scalar(to, "a number, a percentage or all", func(s string) (job.Tolerance, error) {
		_, err := ParseTolerance(job.Tolerance(s))
		return job.Tolerance(s), err
	})
}

// scalar reads values that have a text form of their own, in quotes or not.
func scalar[T any](to *T, want string, parse func(string) (T, error)) setter {
	return func(n *yaml.Node, path string) error {
		if n.Kind != yaml.ScalarNode || n.Tag == "!!null" {
			return at(n, "%s: want %s, got %s", path, want, kind(n))
		}
		v, err := parse(n.Value)
		if err != nil {
			return at(n, "%s: %w", path, err)
		}
		*to = v
		return nil
	}
}

// kind says what a value is, for errors.
func kind(n *yaml.Node) string {
	switch n.Kind {
	case yaml.MappingNode:
		return "a mapping"
	case yaml.SequenceNode:
		return "a list"
	}
	short := n.Value
	if len(short) > 40 {
		short = strings.ToValidUTF8(short[:40], "") + "…"
	}
	switch {
	case n.Tag == "!!null":
		return "nothing"
	case n.Style != 0 || n.Tag == "!!str" && !ambiguous(n):
		return fmt.Sprintf("the string %q", short)
	case n.Tag == "!!timestamp":
		return "a date"
	case n.Tag == "!!int" || n.Tag == "!!float":
		return "a number"
	case n.Tag == "!!bool":
		return "a truth value"
	}
	return fmt.Sprintf("%q, which YAML may read as something else", short)
}
