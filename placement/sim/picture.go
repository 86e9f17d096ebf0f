package sim

import (
	"bytes"
	"fmt"
)

// A Line is how something changes along a [Panel].
type Line struct {
	Name string
	At   []float64 // for each of the panel's steps
}

// A Panel is one plot of a picture.
type Panel struct {
	Title, Axis string
	Steps       []string
	Ratios      []Line // of makespan to ideal: solid lines, the scale on the left
	Shares      []Line // of objects that were mapped where they lie: dashed lines, the scale on the right
}

// Places of the picture, in pixels.
const (
	panelWidth, height = 460, 400
	left, right        = 48, 404
	top, bottom        = 84, 344
	leastRatio         = 1.0
	mostRatio          = 1.5
	leastShare         = 0.5
)

// colours are told apart on white and on black.
var colours = []string{"#2f81f7", "#d9730d", "#2da44e"}

// Draw draws panels side by side, as SVG.
func Draw(panels []Panel) []byte {
	var b bytes.Buffer
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" font-family="system-ui, sans-serif" font-size="13" role="img">`+"\n", panelWidth*len(panels), height)
	b.WriteString(`<title>How long a job takes, and how much of it is local</title>
<style>
text { fill: #1f2328 } .dim { fill: #59636e } .grid { stroke: #d1d9e0 } .back { fill: #ffffff } .line { fill: none; stroke-width: 2 }
@media (prefers-color-scheme: dark) { text { fill: #f0f6fc } .dim { fill: #9198a1 } .grid { stroke: #3d444d } .back { fill: #0d1117 } }
</style>
<rect class="back" width="100%" height="100%"/>
`)
	for i := range panels {
		fmt.Fprintf(&b, `<g transform="translate(%d 0)">`+"\n", i*panelWidth)
		panels[i].draw(&b)
		b.WriteString("</g>\n")
	}
	b.WriteString("</svg>\n")
	return b.Bytes()
}

func (p *Panel) draw(b *bytes.Buffer) {
	x := func(step int) float64 { return left + float64(step)/float64(len(p.Steps)-1)*(right-left) }
	y := func(v, least, most float64) float64 {
		return bottom - (min(max(v, least), most)-least)/(most-least)*(bottom-top)
	}
	fmt.Fprintf(b, `<text x="%d" y="24" font-weight="600">%s</text>`+"\n", left, p.Title)
	for i := range 6 {
		at := y(float64(i), 0, 5)
		fmt.Fprintf(b, `<line class="grid" x1="%d" x2="%d" y1="%.1f" y2="%.1f"/>`, left, right, at, at)
		fmt.Fprintf(b, `<text class="dim" x="%d" y="%.1f" text-anchor="end">%.1f</text>`, left-8, at+4, leastRatio+(mostRatio-leastRatio)*float64(i)/5)
		fmt.Fprintf(b, `<text class="dim" x="%d" y="%.1f">%.0f %%</text>`+"\n", right+8, at+4, 100*(leastShare+(1-leastShare)*float64(i)/5))
	}
	for i, s := range p.Steps {
		fmt.Fprintf(b, `<text class="dim" x="%.1f" y="%d" text-anchor="middle">%s</text>`+"\n", x(i), bottom+20, s)
	}
	fmt.Fprintf(b, `<text class="dim" x="%d" y="%d" text-anchor="middle">%s</text>`+"\n", (left+right)/2, bottom+42, p.Axis)
	for i := range p.Ratios {
		p.Ratios[i].draw(b, left, 44+16*i, "makespan ÷ ideal, ", colours[i], x, func(v float64) float64 { return y(v, leastRatio, mostRatio) })
	}
	for i := range p.Shares {
		p.Shares[i].draw(b, left+216, 44+16*i, "local, ", colours[i]+`" stroke-dasharray="6 3`, x, func(v float64) float64 { return y(v, leastShare, 1) })
	}
}

// draw draws a line, and its name from that place on.
func (l *Line) draw(b *bytes.Buffer, nameX, nameY int, what, stroke string, x func(int) float64, y func(float64) float64) {
	fmt.Fprintf(b, `<polyline class="line" stroke="%s" points="`, stroke)
	for i, v := range l.At {
		fmt.Fprintf(b, "%.1f,%.1f ", x(i), y(v))
	}
	fmt.Fprintf(b, `"/><line class="line" stroke="%s" x1="%d" x2="%d" y1="%d" y2="%d"/>`, stroke, nameX, nameX+24, nameY-4, nameY-4)
	fmt.Fprintf(b, `<text x="%d" y="%d">%s%s</text>`+"\n", nameX+32, nameY, what, l.Name)
}
