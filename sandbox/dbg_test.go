package sandbox

import (
	"fmt"
	"slices"
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
		var ds []time.Duration
		for i := range 8000 {
			b := time.Now()
			run(g, "x", bodies[i%1000])
			d := time.Since(b)
			ds = append(ds, d)
			p := g.instance.snapshot.pages
			hist[p.faults]++
			if i%1000 == 999 {
				slices.Sort(ds)
				fmt.Println(name, i, "p50", ds[len(ds)/2], "p90", ds[len(ds)*9/10], "p99", ds[len(ds)*99/100], hist, "hot", p.hot, len(p.spans), "wild", p.wild, "probes", p.probes)
				clear(hist)
				ds = ds[:0]
			}
		}
		fmt.Println(g.instance.snapshot.pages.spans)
	}
}
