package mailgen

import (
	"strconv"
	"time"
)

// A composer writes one mail. Every line feed goes through end, so that line is always right.
type composer struct {
	rand
	g     *Generator
	truth *Truth
	n     int // number of the mail
	start int // of the mail in buf
	buf   []byte
	line  int  // that is being written, counted from 1
	crlf  bool // ends of lines
}

func (c *composer) s(s string) { c.buf = append(c.buf, s...) }

func (c *composer) end() {
	if c.crlf {
		c.buf = append(c.buf, '\r')
	}
	c.buf = append(c.buf, '\n')
	c.line++
}

func (c *composer) l(s string) { c.s(s); c.end() }

// size returns the bytes of the mail so far.
func (c *composer) size() int { return len(c.buf) - c.start }

func (c *composer) compose() {
	target := c.g.sizes[c.next()&1023]
	c.crlf = c.next()&1 == 0
	plant := 0
	if c.chance(c.g.invoices) {
		plant = 1 + c.rand.n(3)*c.rand.n(2)
	}
	odd := c.chance(c.g.odd)
	c.headers()
	kind := c.rand.n(1000)
	switch {
	case odd:
		c.odd(kind % 3)
	case kind < 422:
		c.plain(target, plant, kind%7)
	case kind < 524:
		c.l("Content-Type: text/plain; charset=utf-8")
		c.l("Content-Transfer-Encoding: quoted-printable")
		c.end()
		c.text(target, plant, quoted)
	case kind < 825:
		c.alternative(target, plant)
	default:
		c.attachment(target, plant)
	}
}

func (c *composer) headers() {
	g := c.g
	domain := g.names[g.domains.draw(uint16(c.next()))]
	if c.truth != nil {
		c.truth.domain(domain, 1)
	}
	at := c.date()
	c.s("Received: from mx")
	c.number(c.rand.n(8))
	c.s("." + domain + " by in.example.net (Postfix) with ESMTPS id ")
	c.hex(10)
	c.end()
	c.s("\tfor <archive@example.net>; ")
	c.stamp(at.Add(2 * time.Second))
	c.end()
	c.s("Date: ")
	c.stamp(at)
	c.end()
	c.s("From: ")
	c.from(domain)
	c.s("To: ")
	for k := range 1 + c.rand.n(3)*c.rand.n(2) {
		if k > 0 {
			c.s(",")
			c.end()
			c.s("\t")
		}
		c.address(c.person(), g.names[g.domains.draw(uint16(c.next()))])
	}
	c.end()
	c.s("Subject: ")
	c.subject()
	c.s("Message-ID: <")
	c.hex(16)
	c.s("." + strconv.Itoa(c.n) + "@" + domain + ">")
	c.end()
	c.l("MIME-Version: 1.0")
}

// person draws a person: given and family name.
func (c *composer) person() int { return c.g.people.draw(uint16(c.next())) }

func (c *composer) from(domain string) {
	p := c.person()
	first, last := given[p%len(given)], family[p/len(given)]
	switch k := c.rand.n(100); {
	case !ascii(first) || !ascii(last):
		c.s("=?utf-8?q?")
		c.q(first)
		c.s("_")
		c.q(last)
		c.s("?= ")
	case k < 20: // the bare address
	case k < 35:
		c.s(`"` + last + ", " + first + `" `)
	default:
		c.s(first + " " + last + " ")
	}
	c.address(p, domain)
	c.end()
}

func (c *composer) address(p int, domain string) {
	c.s("<")
	c.local(given[p%len(given)])
	c.s(".")
	c.local(family[p/len(given)])
	c.s("@" + domain + ">")
}

// local writes the ASCII letters of name in lower case.
func (c *composer) local(name string) {
	for i := range len(name) {
		if b := name[i]; b < 0x80 {
			c.buf = append(c.buf, b|0x20)
		}
	}
}

func (c *composer) subject() {
	if c.rand.n(100) < 8 {
		c.s("=?utf-8?q?")
		for range 2 + c.rand.n(4) {
			c.q(utf8s[c.rand.n(len(utf8s))])
			c.s("_")
			c.s(c.word())
		}
		c.s("?=")
		c.end()
		return
	}
	if c.rand.n(3) == 0 {
		c.s("Re: ")
	}
	for k := range 2 + c.rand.n(7) {
		if k > 0 {
			c.s(" ")
		}
		c.s(c.word())
	}
	c.end()
}

func (c *composer) word() string { return c.g.vocabulary[c.g.words.draw(uint16(c.next()))] }

// q writes s as an encoded word in Q encoding does.
func (c *composer) q(s string) {
	for i := range len(s) {
		if b := s[i]; b < 0x80 {
			c.buf = append(c.buf, b)
		} else {
			c.buf = append(c.buf, '=', upperHex[b>>4], upperHex[b&15])
		}
	}
}

func (c *composer) stamp(t time.Time) { c.buf = t.AppendFormat(c.buf, time.RFC1123Z) }

func (c *composer) number(n int) { c.buf = strconv.AppendInt(c.buf, int64(n), 10) }

const upperHex = "0123456789ABCDEF"

func (c *composer) hex(n int) {
	for x := c.next(); n > 0; n-- {
		c.buf = append(c.buf, upperHex[x&15])
		x >>= 4
	}
}

func ascii(s string) bool {
	for i := range len(s) {
		if s[i] >= 0x80 {
			return false
		}
	}
	return true
}
