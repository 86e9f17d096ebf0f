package main

import (
	"fmt"
	"io"
	"strings"
	"unicode"
	"unicode/utf8"
)

// visible returns s with everything that could act on a terminal written out: control characters but newline and
// tab, marks that change the direction of text, and bytes that are not UTF-8.
func visible(s string) string {
	if utf8.ValidString(s) && strings.IndexFunc(s, acts) < 0 {
		return s
	}
	var b strings.Builder
	for len(s) > 0 {
		r, n := utf8.DecodeRuneInString(s)
		switch {
		case r == utf8.RuneError && n == 1, acts(r) && r < utf8.RuneSelf:
			fmt.Fprintf(&b, `\x%02x`, s[0])
		case acts(r):
			fmt.Fprintf(&b, `\u%04x`, r)
		default:
			b.WriteString(s[:n])
		}
		s = s[n:]
	}
	return b.String()
}

func acts(r rune) bool {
	return unicode.Is(unicode.Cc, r) && r != '\n' && r != '\t' || unicode.Is(unicode.Bidi_Control, r)
}

// A visibleWriter passes on what is written to it, made visible. A character that is cut in two by the end of a
// Write waits for its rest.
type visibleWriter struct {
	w    io.Writer
	rest []byte
}

func (v *visibleWriter) Write(p []byte) (int, error) {
	all := append(v.rest, p...)
	end := len(all)
	for i := 1; i < utf8.UTFMax && i <= len(all); i++ {
		if tail := all[len(all)-i:]; utf8.RuneStart(tail[0]) {
			if !utf8.FullRune(tail) {
				end -= i
			}
			break
		}
	}
	v.rest = append([]byte(nil), all[end:]...)
	if _, err := io.WriteString(v.w, visible(string(all[:end]))); err != nil {
		return 0, err
	}
	return len(p), nil
}
