package sandbox

import (
	"bytes"
	"fmt"
	"testing"
	"time"
)

func TestDbg(t *testing.T) {
	bodies, _ := mails(1000)
	for _, name := range []string{"empty", "regexp", "c"} {
		g := openMail(t, name, false)
		run := mapMail
		if name == "c" {
			run = mapCommand
		}
		hist := map[int64]int{}
		for i := range 4000 {
			b := time.Now()
			run(g, "x", bodies[i%1000])
			d := time.Since(b)
			x := g.instance
			p := x.snapshot.pages
			hist[p.faults]++
			if i < 5 || i > 100 && i < 110 {
				var cold []int
				for _, s := range p.cold() {
					for k := s.from; k < s.to; k++ {
						if !bytes.Equal(p.memory.reserved[k*4096:k*4096+4096], p.image[k*4096:k*4096+4096]) {
							cold = append(cold, k)
						}
					}
				}
				fmt.Println(name, i, d, "faults", p.faults, "hot", p.hot, len(p.spans), "cold dirty", len(cold), x.memory.peak, len(p.image), "wild", p.wild)
			}
			if i == 1000 || i == 3999 {
				fmt.Println(hist)
				clear(hist)
			}
		}
		fmt.Println(g.instance.snapshot.pages.hot, g.instance.snapshot.pages.spans)
	}
}
