package jobfile

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"
)

// Settings reads the settings of a daemon from YAML, under the same rules as job files: a mapping of names, all of them among known, to
// values, lists of values, or mappings of names to values. Values stay as they are written, as string, []any or map[string]any, for others to understand.
func Settings(name string, data []byte, known []string) (map[string]any, error) {
	root, err := document(data)
	settings := map[string]any{}
	if err == nil {
		p := &parser{at: map[string]*yaml.Node{}}
		err = p.pairs(root, "", func(key, value *yaml.Node) (err error) {
			if !slices.Contains(known, key.Value) {
				hint := nearest(key.Value, known)
				if hint != "" {
					hint = " (did you mean " + hint + "?)"
				}
				return at(key, "unknown setting %q%s", key.Value, hint)
			}
			settings[key.Value], err = p.setting(value, key.Value)
			return err
		})
	}
	if err != nil {
		if _, placed := errors.AsType[*posError](err); placed {
			return nil, fmt.Errorf("%s:%w", name, err)
		}
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return settings, nil
}

// setting reads what one setting may be.
func (p *parser) setting(n *yaml.Node, path string) (any, error) {
	switch n.Kind {
	case yaml.SequenceNode:
		values := make([]any, 0, len(n.Content))
		for i, c := range n.Content {
			v, err := value(c, fmt.Sprintf("%s[%d]", path, i))
			if err != nil {
				return nil, err
			}
			values = append(values, v)
		}
		return values, nil
	case yaml.MappingNode:
		values := map[string]any{}
		return values, p.pairs(n, path, func(key, c *yaml.Node) (err error) {
			values[key.Value], err = value(c, path+"."+key.Value)
			return err
		})
	}
	return value(n, path)
}

// value reads one value. Plain words that some version of YAML takes for truth are refused.
func value(n *yaml.Node, path string) (string, error) {
	switch {
	case n.Kind != yaml.ScalarNode || n.Tag == "!!null":
		return "", at(n, "%s: want a value, got %s", path, kind(n))
	case n.Style == 0 && slices.Contains([]string{"y", "n", "yes", "no", "on", "off"}, strings.ToLower(n.Value)):
		return "", at(n, "%s: write true or false, or put it in quotes: %q", path, n.Value)
	}
	return n.Value, nil
}
