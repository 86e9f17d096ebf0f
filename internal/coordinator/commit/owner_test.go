package commit

import (
	"os/exec"
	"testing"
	"time"
)

func TestOwner(t *testing.T) {
	self, err := Self()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("cat")
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	child := self
	child.PID = cmd.Process.Pid
	if child.Start, _, err = process(child.PID); err != nil {
		t.Fatal(err)
	}
	with := func(w Owner, change func(*Owner)) Owner {
		change(&w)
		return w
	}
	type test struct {
		name        string
		owner       Owner
		dead, known bool
	}
	check := func(tests ...test) {
		t.Helper()
		for _, tt := range tests {
			if dead, known := self.dead(tt.owner); dead != tt.dead || known != tt.known {
				t.Errorf("%s: got dead %t, known %t, want %t, %t", tt.name, dead, known, tt.dead, tt.known)
			}
		}
	}
	check(
		test{"itself", self, false, true},
		test{"a child", child, false, true},
		test{"its id, of another process", with(child, func(w *Owner) { w.Start = "1" }), true, true},
		test{"another host", with(child, func(w *Owner) { w.Host += "x" }), false, false},
		test{"another boot", with(child, func(w *Owner) { w.Boot = "x" }), false, false},
		test{"another container", with(child, func(w *Owner) { w.PIDs = "x" }), false, false},
		test{"nobody", Owner{Host: self.Host, Boot: self.Boot, PIDs: self.PIDs}, false, false},
	)
	if err := in.Close(); err != nil {
		t.Fatal(err)
	}
	for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(time.Millisecond) {
		if dead, _ := self.dead(child); dead {
			break // a zombie
		}
		if time.Now().After(deadline) {
			t.Fatal("a child that ended counts as live")
		}
	}
	if err := cmd.Wait(); err != nil {
		t.Fatal(err)
	}
	check(test{"a child that is gone", child, true, true})
}
