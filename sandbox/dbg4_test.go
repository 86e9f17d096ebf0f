package sandbox

import "testing"

func TestLoop(t *testing.T) {
	bodies, _ := mails(1000)
	for _, name := range []string{"empty", "regexp", "c"} {
		t.Run(name, func(t *testing.T) {
			g := openMail(t, name, false)
			run := mapMail
			if name == "c" {
				run = mapCommand
			}
			for i := range 100000 {
				run(g, "x", bodies[i%1000])
			}
		})
	}
}
