package mailgen

import (
	"fmt"
	"math"
	"time"
)

// Options shape the mail. A zero field means its default; a negative rate means none.
type Options struct {
	Mean     int     // mean size of a mail in bytes, at least 1,000; default 3,500
	Domains  int     // domains of senders; default 200, at most 4,096
	Invoices float64 // share of mails with the planted phrase; default 0.02
	Odd      float64 // share of odd mails; default 0.005
}

// A Generator makes mails. It is immutable and safe for concurrent use.
type Generator struct {
	seed       uint64
	invoices   uint32 // rates in 2^-32
	odd        uint32
	words      *zipf
	domains    *zipf
	people     *zipf
	names      []string // of domains, most frequent first
	vocabulary []string // words, most frequent first
	sizes      [1024]int
}

// New returns the generator of that seed. opts may be nil.
func New(seed uint64, opts *Options) *Generator {
	var o Options
	if opts != nil {
		o = *opts
	}
	if o.Mean == 0 {
		o.Mean = 3500
	}
	if o.Domains == 0 {
		o.Domains = 200
	}
	o.Mean = max(o.Mean, 1000)
	o.Domains = min(max(o.Domains, 1), 4096)
	g := &Generator{
		vocabulary: vocabulary(),
		seed:       seed,
		invoices:   rate(o.Invoices, 0.02),
		odd:        rate(o.Odd, 0.005),
		words:      newZipf(len(vocabulary())),
		domains:    newZipf(o.Domains),
		people:     newZipf(len(given) * len(family)),
		names:      domainNames(o.Domains),
	}
	// Quantiles of a log-normal distribution with mean 1; what headers and frames add over the target is taken off.
	const sigma = 0.7
	for i := range g.sizes {
		p := (float64(i) + 0.5) / float64(len(g.sizes))
		q := math.Exp(sigma*math.Sqrt2*math.Erfinv(2*p-1) - sigma*sigma/2)
		g.sizes[i] = int(q * float64(o.Mean-170))
	}
	return g
}

// rate returns r, or its default, as a threshold for 32 random bits.
func rate(r, def float64) uint32 {
	switch {
	case r == 0:
		r = def
	case r < 0:
		r = 0
	}
	return uint32(min(r, 1) * math.MaxUint32)
}

// Key returns the key of mail i, such as 2026/01/17/000123.eml.
func (g *Generator) Key(i int) string {
	r := newRand(g.seed, i)
	t := r.date()
	return fmt.Sprintf("%04d/%02d/%02d/%06d.eml", t.Year(), t.Month(), t.Day(), i)
}

// Mail returns mail i and its key.
func (g *Generator) Mail(i int) (key string, body []byte) {
	return g.Key(i), g.Append(nil, i, nil)
}

// Append appends mail i to dst. It counts the mail in t, which may be nil.
func (g *Generator) Append(dst []byte, i int, t *Truth) []byte {
	c := composer{g: g, rand: newRand(g.seed, i), n: i, start: len(dst), buf: dst, truth: t, line: 1}
	c.compose()
	if t != nil {
		t.Mails++
		t.Bytes += int64(len(c.buf) - c.start)
	}
	return c.buf
}

// year is the time that all mails are of.
var year = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

const yearSeconds = 365 * 24 * 3600
