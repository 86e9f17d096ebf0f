package agent

import (
	"testing"

	"github.com/millrace/millrace/job"
)

// The seed is decided by the program, its arguments and its parameters, and by nothing else that a job says.
func TestSeed(t *testing.T) {
	spec := func(change func(*job.Spec)) uint64 {
		s := &job.Spec{
			Program: job.Program{Engine: job.Wasm, Digest: "d1", Args: []string{"a", "b"}},
			Params:  map[string]string{"x": "1", "y": "2", "z": "3"},
		}
		change(s)
		return seed(&s.Program, s.Params)
	}
	want := spec(func(*job.Spec) {})
	for name, change := range map[string]func(*job.Spec){
		"again":            func(*job.Spec) {},
		"name and path":    func(s *job.Spec) { s.Name, s.Program.Name, s.Program.Path = "n", "p", "/tmp/x" },
		"cut up otherwise": func(s *job.Spec) { s.Slots, s.Reducers, s.Output = 7, 3, "mem:out" },
	} {
		if got := spec(change); got != want {
			t.Errorf("%s: seed %x, want %x", name, got, want)
		}
	}
	seen := map[uint64]string{want: "none"}
	for name, change := range map[string]func(*job.Spec){
		"program":               func(s *job.Spec) { s.Program.Digest = "d2" },
		"arguments":             func(s *job.Spec) { s.Program.Args = []string{"a b"} },
		"order of arguments":    func(s *job.Spec) { s.Program.Args = []string{"b", "a"} },
		"value of a parameter":  func(s *job.Spec) { s.Params["x"] = "2" },
		"another parameter":     func(s *job.Spec) { s.Params["w"] = "" },
		"border of a parameter": func(s *job.Spec) { delete(s.Params, "y"); s.Params["x"] = "1\" \"y" },
	} {
		got := spec(change)
		if other, ok := seen[got]; ok {
			t.Errorf("%s: the same seed as %s", name, other)
		}
		seen[got] = name
	}
}
