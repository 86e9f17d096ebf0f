package main

import "strings"

// domain returns the domain of the first address in the value of a From header, in lower case; "" if there is none. Names,
// quoted strings and comments are passed over, as in
//
//	"Doe, J. (j@old.example)" <j.doe@Example.COM> (work)
func domain(from string) string {
	var addr strings.Builder // what is outside of quotes and comments, from the last "<" on
	quoted, comments := false, 0
loop:
	for i := 0; i < len(from); i++ {
		c := from[i]
		switch {
		case c == '\\' && (quoted || comments > 0):
			i++ // the next one means nothing
		case quoted:
			quoted = c != '"'
		case c == '(':
			comments++
		case comments > 0:
			if c == ')' {
				comments--
			}
		case c == '"':
			quoted = true
		case c == '<':
			addr.Reset()
		case c == '>' || c == ',' || c == ';':
			if strings.Contains(addr.String(), "@") {
				break loop
			}
			addr.Reset()
		default:
			addr.WriteByte(c)
		}
	}
	_, d, ok := cutLast(addr.String(), "@")
	d = strings.ToLower(strings.TrimRight(strings.TrimSpace(d), "."))
	if !ok || strings.ContainsAny(d, " \t") {
		return ""
	}
	return d
}

// cutLast is strings.Cut around the last sep.
func cutLast(s, sep string) (before, after string, found bool) {
	if i := strings.LastIndex(s, sep); i >= 0 {
		return s[:i], s[i+len(sep):], true
	}
	return s, "", false
}
