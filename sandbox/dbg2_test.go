package sandbox

import (
	"fmt"
	"testing"
)

func TestPerf(t *testing.T) {
	bodies, _ := mails(1000)
	for _, name := range []string{"regexp"} {
		g := openMail(t, name, false)
		for i := range 3000 {
			mapMail(g, "x", bodies[i%1000])
			if i == 1 {
				fmt.Printf("BASE %p %d\n", &g.instance.memory.reserved[0], len(g.instance.snapshot.pages.image))
			}
		}
	}
}
