package mailgen

import "fmt"

// plain writes a text part of its own; flavour 0 and 1 (of 7) may be 8-bit.
func (c *composer) plain(target, plant, flavour int) {
	var foreign []string
	switch {
	case flavour > 0:
		c.l("Content-Type: text/plain; charset=us-ascii")
	case c.next()&1 == 0:
		c.l("Content-Type: text/plain; charset=iso-8859-1")
		c.l("Content-Transfer-Encoding: 8bit")
		foreign = latin
	default:
		c.l("Content-Type: text/plain; charset=utf-8")
		c.l("Content-Transfer-Encoding: 8bit")
		foreign = utf8s
	}
	c.end()
	c.text(target, plant, foreign)
}

// text writes lines of words until the mail has target bytes, at least one, and the planted phrases among them.
// One word in 32 is foreign, if there are any.
func (c *composer) text(target, plant int, foreign []string) {
	c.prose(target-40*plant, foreign)
	for ; plant > 0; plant-- {
		number := 1000 + c.rand.n(9000)
		if c.truth != nil {
			c.truth.Invoices = append(c.truth.Invoices, Invoice{Mail: c.n, Key: c.g.Key(c.n), Line: c.line, Number: number})
		}
		c.s(c.word())
		c.s(" invoice ")
		c.number(number)
		c.s(" ")
		c.s(c.word())
		c.end()
		if c.next()&1 == 0 {
			c.prose(c.size()+100, foreign)
		}
	}
}

func (c *composer) prose(target int, foreign []string) {
	const width = 72
	buf := c.buf
	capital := true
	for {
		stop := len(buf) + width - 8
		for {
			x := c.next()
			for range 4 {
				w := c.g.vocabulary[c.g.words.table[uint16(x)]]
				x = x>>16 | x<<48
				at := len(buf)
				buf = append(buf, w...)
				buf = append(buf, ' ')
				if capital {
					buf[at] &^= 0x20
					capital = false
				}
			}
			if foreign != nil && x&7 == 0 {
				buf = append(buf, foreign[(x>>3)%uint64(len(foreign))]...)
				buf = append(buf, ' ')
			}
			if x>>60 == 0 {
				buf[len(buf)-1] = '.'
				buf = append(buf, ' ')
				capital = true
			}
			if len(buf) >= stop {
				break
			}
		}
		c.buf = buf[:len(buf)-1]
		c.end()
		if c.next()>>61 == 0 { // a paragraph
			c.end()
			capital = true
		}
		buf = c.buf
		if c.size() >= target {
			return
		}
	}
}

func (c *composer) boundary() string { return fmt.Sprintf("=_part_%08x", uint32(c.next())) }

func (c *composer) alternative(target, plant int) {
	b := c.boundary()
	c.l(`Content-Type: multipart/alternative; boundary="` + b + `"`)
	c.end()
	c.l("--" + b)
	c.l("Content-Type: text/plain; charset=us-ascii")
	c.end()
	half := c.size() + (target-c.size())/3
	c.text(half, plant, nil)
	c.l("--" + b)
	c.l("Content-Type: text/html; charset=us-ascii")
	c.end()
	c.l("<html><head><meta http-equiv=\"Content-Type\" content=\"text/html; charset=us-ascii\"></head><body>")
	for {
		c.s(`<p class="MsoNormal"><span style="font-size:11.0pt">`)
		c.s(c.word())
		c.end()
		c.prose(c.size()+200, nil)
		c.s(`</span> <a href="http://www.`)
		c.s(c.g.names[c.g.domains.draw(uint16(c.next()))])
		c.s(`/`)
		c.hex(8)
		c.l(`">link</a></p>`)
		if c.size() >= target-40 {
			break
		}
	}
	c.l("</body></html>")
	c.l("--" + b + "--")
}

func (c *composer) attachment(target, plant int) {
	b := c.boundary()
	c.l(`Content-Type: multipart/mixed; boundary="` + b + `"`)
	c.end()
	c.l("--" + b)
	c.l("Content-Type: text/plain; charset=us-ascii")
	c.end()
	c.text(c.size()+(target-c.size())/4, plant, nil)
	c.l("--" + b)
	c.l("Content-Type: application/octet-stream")
	c.s(`Content-Disposition: attachment; filename="`)
	c.s(c.word())
	c.l(`.pdf"`)
	c.l("Content-Transfer-Encoding: base64")
	c.end()
	for c.size() < target-80 {
		c.base64Line()
	}
	c.base64Line()
	c.l("--" + b + "--")
}

// base64Line writes 76 random characters: 57 bytes.
func (c *composer) base64Line() {
	const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
	var line [80]byte
	for i := 0; i < 80; i += 10 {
		x := c.next()
		for j := range 10 {
			line[i+j] = alphabet[x&63]
			x >>= 6
		}
	}
	c.buf = append(c.buf, line[:76]...)
	c.end()
}

// odd writes a body of one of three odd kinds.
func (c *composer) odd(kind int) {
	switch kind {
	case 0: // no body at all
		c.end()
	case 1: // one huge line, not ended
		c.l("Content-Type: text/plain; charset=us-ascii")
		c.end()
		for end := c.size() + 16<<10 + c.rand.n(48<<10); c.size() < end; {
			c.s(c.word())
			c.s(" ")
		}
	case 2: // binary: everything but a line feed
		c.l("Content-Type: application/octet-stream")
		c.l("Content-Transfer-Encoding: binary")
		c.end()
		for range 512 {
			for x, k := c.next(), 0; k < 8; k++ {
				b := byte(x)
				if b == '\n' {
					b = 0
				}
				c.buf = append(c.buf, b)
				x >>= 8
			}
		}
	}
}
