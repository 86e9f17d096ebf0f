package builtin

import (
	"bytes"
	"encoding/base64"
	"strconv"
	"unicode"
	"unicode/utf8"

	"github.com/millrace/millrace/internal/pattern"
)

// A printer writes lines as grep shows them.
type printer struct {
	p       *GrepParams
	matcher *pattern.Matcher
	buf     []byte
	shown   []byte // the object's name, as it is printed
	key     string // the object's name
	spans   [][2]int
}

func (p *printer) reset(g *grepper, name string) {
	p.p, p.matcher, p.key = g.GrepParams, g.matcher, name
	p.empty()
	p.shown = p.shown[:0]
	switch {
	case p.p.NoName:
	case p.p.Color:
		p.shown = append(p.shown, "\x1b[0m\x1b[35m"...)
		p.shown = p.appendText(p.shown, []byte(name))
		p.shown = append(p.shown, "\x1b[0m"...)
	default:
		p.shown = p.appendText(p.shown, []byte(name))
	}
}

// empty drops what was printed, and memory that a huge line took.
func (p *printer) empty() {
	if p.buf = p.buf[:0]; cap(p.buf) > 1<<20 {
		p.buf = nil
	}
}

func (p *printer) separator() { p.buf = append(p.buf, "--\n"...) }

func (p *printer) name() {
	p.buf = append(append(p.buf, p.shown...), '\n')
}

func (p *printer) count(n int64) {
	if !p.p.NoName {
		p.buf = append(append(p.buf, p.shown...), ':')
	}
	p.buf = append(strconv.AppendInt(p.buf, n, 10), '\n')
}

// line prints a line, which matches or is context.
func (p *printer) line(number int64, text []byte, match bool) {
	mark := byte('-')
	if match {
		mark = ':'
	}
	if !p.p.NoName {
		p.buf = append(append(p.buf, p.shown...), mark)
	}
	if !p.p.NoNumber {
		if p.p.Color {
			p.buf = append(p.buf, "\x1b[0m\x1b[32m"...)
		}
		p.buf = strconv.AppendInt(p.buf, number, 10)
		if p.p.Color {
			p.buf = append(p.buf, "\x1b[0m"...)
		}
		p.buf = append(p.buf, mark)
	}
	if p.p.Escape {
		text = bytes.TrimSuffix(text, []byte{'\r'})
	}
	if match && p.p.Color && !p.p.Invert {
		p.spans = p.matcher.Spans(text, p.spans[:0])
		at := 0
		for i := 0; i < len(p.spans); {
			start, end := p.spans[i][0], p.spans[i][1]
			for i++; i < len(p.spans) && p.spans[i][0] == end; i++ {
				end = p.spans[i][1] // they touch: one mark
			}
			if start == end {
				continue
			}
			p.buf = p.appendText(p.buf, text[at:start])
			p.buf = append(p.buf, "\x1b[0m\x1b[1m\x1b[31m"...)
			p.buf = p.appendText(p.buf, text[start:end])
			p.buf = append(p.buf, "\x1b[0m"...)
			at = end
		}
		text = text[at:]
	}
	p.buf = append(p.appendText(p.buf, text), '\n')
}

func (p *printer) appendText(dst, text []byte) []byte {
	if p.p.Escape {
		return appendEscaped(dst, text)
	}
	return append(dst, text...)
}

// appendEscaped appends text in such a way that it drives no terminal: characters that have no shape of their own, and what is no
// UTF-8, as \x1b or \u{202e}. A tab stays.
func appendEscaped(dst, text []byte) []byte {
	const hex = "0123456789abcdef"
	for i := 0; i < len(text); {
		b := text[i]
		if b >= ' ' && b < 0x7f || b == '\t' {
			dst = append(dst, b)
			i++
			continue
		}
		r, n := utf8.DecodeRune(text[i:])
		switch {
		case n == 1:
			dst = append(dst, '\\', 'x', hex[b>>4], hex[b&15])
		case unicode.IsGraphic(r) || r == 0x200c || r == 0x200d: // joiners shape what stands beside them
			dst = append(dst, text[i:i+n]...)
		default:
			dst = append(dst, "\\u{"...)
			dst = strconv.AppendInt(dst, int64(r), 16)
			dst = append(dst, '}')
		}
		i += n
	}
	return dst
}

// json prints {"key":…,"line":…,"text":…,"matches":[[start,end],…]}: offsets are bytes of the text, without its line
// feed. Key and text are in base64, as key_bytes and bytes, if they are not valid UTF-8.
func (p *printer) json(number int64, text []byte) {
	p.buf = append(p.buf, '{')
	p.buf = appendField(p.buf, "key", "key_bytes", []byte(p.key))
	if !p.p.NoNumber {
		p.buf = append(p.buf, `,"line":`...)
		p.buf = strconv.AppendInt(p.buf, number, 10)
	}
	p.buf = append(p.buf, ',')
	p.buf = appendField(p.buf, "text", "bytes", text)
	p.buf = append(p.buf, `,"matches":[`...)
	p.spans = p.spans[:0]
	if !p.p.Invert {
		p.spans = p.matcher.Spans(text, p.spans)
	}
	for i, s := range p.spans {
		if i > 0 {
			p.buf = append(p.buf, ',')
		}
		p.buf = append(p.buf, '[')
		p.buf = strconv.AppendInt(p.buf, int64(s[0]), 10)
		p.buf = append(p.buf, ',')
		p.buf = strconv.AppendInt(p.buf, int64(s[1]), 10)
		p.buf = append(p.buf, ']')
	}
	p.buf = append(p.buf, "]}\n"...)
}

// appendField appends a member of an object: name if value is UTF-8, else raw.
func appendField(dst []byte, name, raw string, value []byte) []byte {
	if utf8.Valid(value) {
		dst = append(append(append(dst, '"'), name...), `":"`...)
		dst = appendJSON(dst, value)
	} else {
		dst = append(append(append(dst, '"'), raw...), `":"`...)
		dst = base64.StdEncoding.AppendEncode(dst, value)
	}
	return append(dst, '"')
}

// appendJSON appends valid UTF-8 as the inside of a string.
func appendJSON(dst, text []byte) []byte {
	const hex = "0123456789abcdef"
	for _, b := range text {
		switch {
		case b == '"' || b == '\\':
			dst = append(dst, '\\', b)
		case b == '\t':
			dst = append(dst, '\\', 't')
		case b == '\r':
			dst = append(dst, '\\', 'r')
		case b < ' ' || b == 0x7f:
			dst = append(dst, '\\', 'u', '0', '0', hex[b>>4], hex[b&15])
		default:
			dst = append(dst, b)
		}
	}
	return dst
}
