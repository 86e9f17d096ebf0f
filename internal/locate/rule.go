package locate

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/millrace/millrace/store"
)

// A Rule says on which nodes the objects lie whose URIs begin with a prefix. Of several that fit, the one with the longest prefix counts.
type Rule struct {
	Prefix string   // a URI: file:///srv/mail, which is a directory, s3://bucket/2026
	Nodes  []string // names or addresses; nil: on all alike

	begin string // of the names of its objects
}

// ParseRule reads PREFIX=NODE,NODE…; the nodes * are all.
func ParseRule(s string) (Rule, error) {
	at := strings.LastIndexByte(s, '=')
	if at < 0 {
		return Rule{}, fmt.Errorf("%.80q: want PREFIX=NODE, PREFIX=NODE,NODE… or PREFIX=*", s)
	}
	u, err := store.ParseURI(s[:at])
	if err != nil {
		return Rule{}, err
	}
	if u.Glob != "" {
		return Rule{}, fmt.Errorf("%.80q: a rule is of a prefix, not of a pattern", s)
	}
	r := Rule{Prefix: s[:at], begin: name(u, u.Prefix)}
	if s[at+1:] == "*" {
		return r, nil
	}
	for n := range strings.SplitSeq(s[at+1:], ",") {
		if n = strings.TrimSpace(n); n == "" {
			return Rule{}, fmt.Errorf("%.80q: a node without a name", s)
		}
		if !slices.Contains(r.Nodes, n) {
			r.Nodes = append(r.Nodes, n)
		}
	}
	return r, nil
}

// name returns how rules know the object under a key of u's bucket.
func name(u store.URI, key store.Key) string {
	return u.Scheme + "://" + strings.TrimSuffix(u.Bucket, "/") + "/" + string(key)
}

// UnmarshalText reads what ParseRule reads.
func (r *Rule) UnmarshalText(text []byte) (err error) {
	*r, err = ParseRule(string(text))
	return err
}

// String is the inverse of ParseRule.
func (r Rule) String() string {
	if r.Nodes == nil {
		return r.Prefix + "=*"
	}
	return r.Prefix + "=" + strings.Join(r.Nodes, ",")
}

// rules returns what rules say of an input, or, for files, that they lie on this node; nil: nothing.
func (c *Config) rules(u store.URI) Locator {
	l := &byRule{root: name(u, "")}
	meant := name(u, u.Prefix)
	for _, r := range c.Rules {
		// Of the input's objects, all, some or none may be the rule's.
		if strings.HasPrefix(meant, r.begin) || strings.HasPrefix(r.begin, meant) {
			l.rules = append(l.rules, r)
		}
	}
	if u.Scheme == "file" && c.Node != "" {
		l.rules = append(l.rules, Rule{begin: "file://", Nodes: []string{c.Node}})
	}
	if len(l.rules) == 0 {
		return nil
	}
	slices.SortStableFunc(l.rules, func(a, b Rule) int { return len(b.begin) - len(a.begin) })
	return l
}

// A byRule says what rules say of a bucket's objects.
type byRule struct {
	root  string // how they begin without their keys
	rules []Rule // the longest first
}

func (l *byRule) Locate(_ context.Context, keys []store.Key, nodes [][]string) error {
	for i, k := range keys {
		nodes[i] = nil
		for _, r := range l.rules {
			if strings.HasPrefix(l.root+string(k), r.begin) {
				nodes[i] = r.Nodes
				break
			}
		}
	}
	return nil
}
