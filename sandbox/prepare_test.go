package sandbox

import (
	"errors"
	"strings"
	"testing"
)

// TestPrepare checks that a guest that was prepared does what others do.
func TestPrepare(t *testing.T) {
	look := programOf(t, "look")
	plain, prepared := look.open(t), look.open(t)
	for i, r := range []Run{
		{Seed: 1},
		{Seed: 2, Env: []string{"A=b"}},
		{Seed: 3, Args: []string{"x"}, Env: []string{"A=b"}},
	} {
		ahead := r
		if i == 2 {
			ahead.Args = []string{"y"} // it was not for this
		}
		if err := Prepare(t.Context(), prepared, &ahead); err != nil {
			t.Fatal(err)
		}
		if prepared.instance == nil || prepared.instance.snapshot == nil {
			t.Fatalf("run %d: nothing was prepared", i)
		}
		for n := range 3 {
			want := output(plain, r, strings.NewReader("some input"))
			if got := output(prepared, r, strings.NewReader("some input")); got != want {
				t.Errorf("run %d.%d: got %q; want %q", i, n, got, want)
			}
		}
	}
}

// TestPrepareFails checks that what goes wrong before a guest's first look at its input goes wrong again.
func TestPrepareFails(t *testing.T) {
	g, err := OpenWasm(t.Context(), assemble(
		1, list("\x60\x00\x00"), 3, list("\x00"), 5, list("\x00\x01"),
		7, list(sized("memory")+"\x02\x00", sized("_start")+"\x00\x00"), 10, list(body("\x00"))))
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := g.Close(); err != nil {
			t.Error(err)
		}
	}()
	if err := Prepare(t.Context(), g, &Run{}); !errors.Is(err, ErrTrap) {
		t.Errorf("prepared: %v; want ErrTrap", err)
	}
	if _, err := g.Run(t.Context(), &Run{}); !errors.Is(err, ErrTrap) {
		t.Errorf("run: %v; want ErrTrap", err)
	}
}

func TestRehearse(t *testing.T) {
	p, err := Start(&Config{Args: []string{"rehearse"}})
	if err != nil {
		t.Fatal(err)
	}
	if exit := p.Wait(); exit.Code != 0 {
		t.Errorf("%v: %s", exit, exit.Stderr)
	}
}
