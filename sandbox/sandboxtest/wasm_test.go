package sandboxtest

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"strings"
	"testing"
	"time"

	"github.com/millrace/millrace/sandbox"
)

// nextWorks checks that another module runs in a jail after an attack, as it does in a new one.
func nextWorks(t *testing.T, j *Jail) {
	t.Helper()
	err := j.open(Wasm, Healthy())
	for range 2 {
		if err == nil {
			_, err = j.Run(context.Background(), &sandbox.Run{})
		}
	}
	if err != nil {
		t.Errorf("the slot's next module: %v", err)
	}
}

func TestWasmAttacks(t *testing.T) {
	if Raced {
		t.Skip("the race detector takes memory and time that the limits of this test do not leave")
	}
	o := NewOutside(t)
	healthy := Healthy()
	for _, a := range WasmAttacks() {
		t.Run(a.Name, func(t *testing.T) {
			j, err := Open(t, Wasm, healthy, nil)
			if err != nil {
				t.Fatal(err)
			}
			o.Begin()
			defer o.Check(t)
			begin := time.Now()
			err = j.open(Wasm, a.Code)
			if a.Refused {
				if !errors.Is(err, sandbox.ErrModule) || !strings.Contains(err.Error(), a.Says) {
					t.Errorf("error %v; want %v with %q", err, sandbox.ErrModule, a.Says)
				}
				if took := time.Since(begin); took > Patience {
					t.Errorf("refused after %v", took)
				}
				nextWorks(t, j)
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if a.Kill { // nothing inside can end it
				j.Grace = 250 * time.Millisecond
			}
			limits := a.Limits
			if limits.Wall == 0 {
				limits = sandbox.Limits{Wall: 300 * time.Millisecond, Memory: 64 << 20}
			}
			for range 2 { // what a run did to its guest, the next one would show
				begin = time.Now()
				_, err = j.Run(context.Background(), &sandbox.Run{Limits: limits})
				checkEnd(t, time.Since(begin), limits)
				if a.Is == nil && err != nil || !errors.Is(err, a.Is) || err != nil && !strings.Contains(err.Error(), a.Says) {
					t.Errorf("error %v; want %v with %q", err, a.Is, a.Says)
				}
				killed := err != nil && strings.HasSuffix(err.Error(), ": killed")
				if killed != a.Kill {
					t.Errorf("error %v; want one that ended it from outside: %v", err, a.Kill)
				}
				if killed { // its slot gets another jail
					if j, err = Open(t, Wasm, healthy, nil); err != nil {
						t.Fatal(err)
					}
					break
				}
			}
			nextWorks(t, j)
		})
	}
}

// TestWasmHostCalls calls each host function with pointers and lengths at and beyond the end of memory.
func TestWasmHostCalls(t *testing.T) {
	o := NewOutside(t)
	code, calls := HostCalls()
	j, err := Open(t, Wasm, code, nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range calls {
		t.Run(c.Function, func(t *testing.T) {
			o.Begin()
			for range 2 { // what the first does to its guest, the second would show
				_, err := j.Run(context.Background(), &sandbox.Run{Args: []string{"a"}, Env: []string{"A=1"},
					Limits: sandbox.Limits{Wall: time.Minute, Memory: 16 << 20}, Streams: sandbox.Streams{Stdin: strings.NewReader(c.Input)}})
				if c.Is == nil && err != nil || !errors.Is(err, c.Is) {
					t.Errorf("error %v; want %v", err, c.Is)
				}
			}
			o.Check(t)
		})
	}
	nextWorks(t, j)
}

// TestWasmCanaries runs guests that leave things behind and look for them: one that begins afresh each time, and one that is restored.
func TestWasmCanaries(t *testing.T) {
	for name, code := range map[string][]byte{"fresh": Healthy(), "restored": Restored()} {
		t.Run(name, func(t *testing.T) {
			j, err := Open(t, Wasm, code, nil)
			if err != nil {
				t.Fatal(err)
			}
			restored := 0
			for i := range 100 {
				in := Canary(i)
				report, err := j.Run(context.Background(), &sandbox.Run{Streams: sandbox.Streams{Stdin: strings.NewReader(in)}})
				if err != nil {
					t.Fatalf("run %d: %v", i, err)
				}
				if report.Restored {
					restored++
				}
			}
			if (restored >= 70) != (name == "restored") {
				t.Errorf("%d runs of 100 were restored", restored)
			}
		})
	}
}

// guestAttacks are what the probe tries as a wasm guest.
var guestAttacks = []string{"recurse", "memory 2000", "loop", "out 1000000", "panic", "sleep 1h", "err 1000000"}

func TestWasmGuestAttacks(t *testing.T) {
	o := NewOutside(t)
	healthy := open(t, Wasm, nil)
	for _, args := range guestAttacks {
		t.Run(args, func(t *testing.T) {
			o.Begin()
			defer o.Check(t)
			begin := time.Now()
			run := &sandbox.Run{Args: strings.Fields(args), Limits: sandbox.Limits{Wall: 5 * time.Second, CPU: 300 * time.Millisecond, Memory: 64 << 20, Output: 1 << 20}}
			_, err := healthy.Run(context.Background(), run)
			if harmless := strings.HasPrefix(args, "sleep"); harmless != (err == nil) {
				t.Errorf("error %v", err)
			}
			checkEnd(t, time.Since(begin), run.Limits)
			alive(t, healthy)
		})
	}
}

// TestWasmClock checks that time and chance are those of the run, not those of the machine.
func TestWasmClock(t *testing.T) {
	j := open(t, Wasm, nil)
	get := func(verb string, seed uint64) string {
		t.Helper()
		var out bytes.Buffer
		if _, err := j.Run(context.Background(), &sandbox.Run{Args: []string{verb}, Seed: seed, Streams: sandbox.Streams{Stdout: &out}}); err != nil {
			t.Fatal(err)
		}
		return out.String()
	}
	if got, want := get("clock", 1), "2000-01-01T00:00:00Z\n"; got != want {
		t.Errorf("clock %q; want %q", got, want)
	}
	if a, b, c := get("random", 1), get("random", 1), get("random", 2); a != b || a == c {
		t.Errorf("random bytes %q, %q with seed 1, %q with 2", a, b, c)
	}
}

var soak = flag.Bool("soak", false, "run the whole of what is sampled otherwise: minutes")

// TestWasmMutants opens and runs modules that are cut short or have some bits flipped: none may end the process that opens it.
func TestWasmMutants(t *testing.T) {
	modules, seed := 400, uint64(time.Now().UnixNano())
	if *soak {
		modules = 10_000
	}
	t.Logf("%d modules, seed %d", modules, seed)
	o := NewOutside(t)
	j, err := Open(t, Wasm, Healthy(), nil)
	if err != nil {
		t.Fatal(err)
	}
	o.Begin()
	ran := 0
	for m := range Mutants(seed, modules) {
		if err := j.open(Wasm, m); err != nil {
			if !errors.Is(err, sandbox.ErrModule) {
				t.Fatalf("module %x: %v", m, err)
			}
			continue
		}
		ran++
		_, err := j.Run(context.Background(), &sandbox.Run{Limits: sandbox.Limits{Wall: 200 * time.Millisecond, Memory: 16 << 20}})
		if err != nil && !errors.Is(err, sandbox.ErrTrap) && !errors.Is(err, sandbox.ErrLimit) && !errors.Is(err, sandbox.ErrExit) {
			t.Fatalf("module %x: %v", m, err)
		}
		if err != nil && strings.HasSuffix(err.Error(), ": killed") { // from outside
			if j, err = Open(t, Wasm, Healthy(), nil); err != nil {
				t.Fatal(err)
			}
		}
	}
	t.Logf("%d were accepted", ran)
	o.Check(t)
}
