package latency

import (
	"bytes"
	"cmp"
	"fmt"
	"html"
	"math"
	"slices"
	"time"
)

// Places of the picture, in pixels.
const (
	width, height         = 960, 440
	left, right           = 56, 636 // of the plot; the names are right of it
	top, bottom           = 44, 392
	firstName, betweenRow = 72, 25
)

// tail is how many steps at either end are not drawn: half a percent.
const tail = steps / 200

// colours are told apart on white and on black.
var colours = []string{"#2f81f7", "#d9730d", "#2da44e", "#a371f7", "#e5534b", "#b08800", "#0f9fa8", "#d05fa2", "#7d8590", "#8a6d3b"}

// draw draws the share of operations that took at most so long, over that time, as SVG. Fast ones come first.
func draw(all []distribution) []byte {
	slices.SortStableFunc(all, func(a, b distribution) int { return cmp.Compare(a.At[steps/2], b.At[steps/2]) })
	least, most := math.Inf(1), math.Inf(-1) // powers of ten
	for _, d := range all {
		least = min(least, math.Floor(exponent(d.At[tail])))
		most = max(most, math.Ceil(exponent(d.At[steps-tail])))
	}
	x := func(t time.Duration) float64 {
		e := min(max(exponent(t), least), most)
		return left + (e-least)/(most-least)*(right-left)
	}
	y := func(share float64) float64 { return bottom - share*(bottom-top) }

	var b bytes.Buffer
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" font-family="system-ui, sans-serif" font-size="13" role="img">`+"\n", width, height)
	b.WriteString(`<title>How long one object takes</title>
<style>
text { fill: #1f2328 } .dim { fill: #59636e } .grid { stroke: #d1d9e0 } .back { fill: #ffffff } .line { fill: none; stroke-width: 2 }
@media (prefers-color-scheme: dark) { text { fill: #f0f6fc } .dim { fill: #9198a1 } .grid { stroke: #3d444d } .back { fill: #0d1117 } }
</style>
<rect class="back" width="100%" height="100%"/>
`)
	fmt.Fprintf(&b, `<text x="%d" y="24" font-weight="600">One object: share that took at most so long</text>`+"\n", left)
	for percent := 0; percent <= 100; percent += 25 {
		at := y(float64(percent) / 100)
		fmt.Fprintf(&b, `<line class="grid" x1="%d" x2="%d" y1="%.1f" y2="%.1f"/><text class="dim" x="%d" y="%.1f" text-anchor="end">%d %%</text>`+"\n", left, right, at, at, left-8, at+4, percent)
	}
	for e := least; e <= most; e++ {
		t := time.Duration(math.Round(math.Pow(10, e)))
		fmt.Fprintf(&b, `<line class="grid" x1="%.1f" x2="%.1f" y1="%d" y2="%d"/><text class="dim" x="%.1f" y="%d" text-anchor="middle">%s</text>`+"\n", x(t), x(t), top, bottom, x(t), bottom+20, label(t))
	}
	fmt.Fprintf(&b, `<text class="dim" x="%d" y="%d" text-anchor="end">p50</text><text class="dim" x="%d" y="%d" text-anchor="end">p99</text>`+"\n", width-80, top+4, width-12, top+4)
	for i, d := range all {
		colour, dash := colours[i%len(colours)], ""
		if i >= len(colours) {
			dash = ` stroke-dasharray="6 3"`
		}
		fmt.Fprintf(&b, `<polyline class="line" stroke="%s"%s points="`, colour, dash)
		for s := tail; s <= steps-tail; s++ {
			fmt.Fprintf(&b, "%.1f,%.1f ", x(d.At[s]), y(float64(s)/steps))
		}
		row := firstName + i*betweenRow
		fmt.Fprintf(&b, "\"/>\n"+`<line class="line" stroke="%s"%s x1="%d" x2="%d" y1="%d" y2="%d"/>`, colour, dash, right+20, right+44, row-4, row-4)
		fmt.Fprintf(&b, `<text x="%d" y="%d">%s</text><text x="%d" y="%d" text-anchor="end">%s</text><text x="%d" y="%d" text-anchor="end">%s</text>`+"\n",
			right+52, row, html.EscapeString(d.Name), width-80, row, label(d.At[steps/2]), width-12, row, label(d.At[steps*99/100]))
	}
	b.WriteString("</svg>\n")
	return b.Bytes()
}

// exponent is the power of ten that t is, in nanoseconds.
func exponent(t time.Duration) float64 { return math.Log10(float64(max(t, 1))) }

// label writes t for people, with two or three digits.
func label(t time.Duration) string {
	for _, u := range []struct {
		unit time.Duration
		name string
	}{{time.Second, "s"}, {time.Millisecond, "ms"}, {time.Microsecond, "µs"}, {1, "ns"}} {
		if t < u.unit && u.unit > 1 {
			continue
		}
		v := float64(t) / float64(u.unit)
		if v < 9.95 && v != math.Trunc(v) {
			return fmt.Sprintf("%.1f %s", v, u.name)
		}
		return fmt.Sprintf("%.0f %s", v, u.name)
	}
	return ""
}
