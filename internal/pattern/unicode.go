package pattern

import (
	"strings"
	"sync"
	"unicode"
)

// isWord reports whether r belongs to words (UTS #18): alphabetic, a mark, a decimal digit, a connector, a joiner.
func isWord(r rune) bool {
	if r < 0x80 {
		return r == '_' || '0' <= r && r <= '9' || 'a' <= r|0x20 && r|0x20 <= 'z'
	}
	return unicode.In(r, wordTables...)
}

var (
	alphabetic = []*unicode.RangeTable{unicode.L, unicode.Nl, unicode.Other_Alphabetic}
	wordTables = append([]*unicode.RangeTable{unicode.M, unicode.Nd, unicode.Pc, unicode.Join_Control}, alphabetic...)
)

// perl returns the class of \d, \s or \w.
func perl(letter byte, ascii bool) class {
	c := class{raw: ascii}
	switch {
	case ascii && letter == 'd':
		c.add('0', '9')
	case ascii && letter == 's':
		c.add('\t', '\r')
		c.add(' ', ' ')
	case ascii:
		c.add('0', '9')
		c.add('A', 'Z')
		c.add('_', '_')
		c.add('a', 'z')
	case letter == 'd':
		c.table(unicode.Nd)
	case letter == 's':
		c.table(unicode.White_Space)
	default:
		for _, t := range wordTables {
			c.table(t)
		}
	}
	c.tidy()
	return c
}

// property returns the class that \p{name} denotes. Case, spaces, hyphens and underscores in name do not matter.
func property(name string) (class, bool) {
	var c class
	key, value, pair := strings.Cut(strings.Replace(name, ":", "=", 1), "=")
	if pair {
		key, name = loose(key), value
		switch key {
		case "gc", "generalcategory", "sc", "script", "scx", "scriptextensions":
		default:
			return c, false
		}
	}
	name = loose(name)
	script := strings.HasPrefix(key, "sc") && pair
	if !script {
		switch name {
		case "any":
			c.add(0, unicode.MaxRune)
			return c, true
		case "ascii":
			c.add(0, 0x7f)
			return c, true
		case "assigned":
			c.table(unicode.Cn)
			c.negate()
			return c, true
		case "alphabetic", "alpha":
			for _, t := range alphabetic {
				c.table(t)
			}
			c.tidy()
			return c, true
		case "lowercase":
			c.table(unicode.Ll)
			c.table(unicode.Other_Lowercase)
			c.tidy()
			return c, true
		case "uppercase":
			c.table(unicode.Lu)
			c.table(unicode.Other_Uppercase)
			c.tidy()
			return c, true
		}
	}
	t, ok := tables()[name]
	if !ok {
		return c, false
	}
	c.table(t)
	c.tidy()
	return c, true
}

// tables returns Unicode's categories, scripts and properties by loose name.
var tables = sync.OnceValue(func() map[string]*unicode.RangeTable {
	m := make(map[string]*unicode.RangeTable)
	for name, t := range unicode.Properties {
		m[loose(name)] = t
	}
	for name, t := range unicode.Scripts {
		m[loose(name)] = t
	}
	for name, t := range unicode.Categories {
		m[loose(name)] = t
	}
	for alias, name := range unicode.CategoryAliases {
		m[loose(alias)] = unicode.Categories[name]
	}
	return m
})

func loose(name string) string {
	return strings.Map(func(r rune) rune {
		if r == ' ' || r == '-' || r == '_' {
			return -1
		}
		return unicode.ToLower(r)
	}, name)
}

// posix holds the classes written [:name:].
var posix = map[string][]span{
	"alnum": {{'0', '9'}, {'A', 'Z'}, {'a', 'z'}}, "alpha": {{'A', 'Z'}, {'a', 'z'}}, "ascii": {{0, 0x7f}},
	"blank": {{'\t', '\t'}, {' ', ' '}}, "cntrl": {{0, 0x1f}, {0x7f, 0x7f}}, "digit": {{'0', '9'}}, "graph": {{'!', '~'}},
	"lower": {{'a', 'z'}}, "print": {{' ', '~'}}, "punct": {{'!', '/'}, {':', '@'}, {'[', '`'}, {'{', '~'}},
	"space": {{'\t', '\r'}, {' ', ' '}}, "upper": {{'A', 'Z'}}, "word": {{'0', '9'}, {'A', 'Z'}, {'_', '_'}, {'a', 'z'}},
	"xdigit": {{'0', '9'}, {'A', 'F'}, {'a', 'f'}},
}
