package local_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/millrace/millrace/internal/agent"
	"github.com/millrace/millrace/internal/local"
	"github.com/millrace/millrace/job"
	"github.com/millrace/millrace/job/jobfile"
	"github.com/millrace/millrace/store"
	"github.com/millrace/millrace/store/mem"
)

// runFile runs a job file over the store, with the builtin program fields and its runners in this process.
func runFile(t *testing.T, m *mem.Store, yaml string) (*job.Result, error) {
	t.Helper()
	spec, err := jobfile.Parse("job.yaml", []byte(yaml+"\noutput: mem:out\nprogram: {engine: builtin, name: fields}\nslots: 2\n"))
	if err != nil {
		t.Fatal(err)
	}
	pool := agent.NewPool(agent.InProcess(nil))
	t.Cleanup(func() {
		if err := pool.Close(); err != nil {
			t.Error(err)
		}
	})
	return local.Run(t.Context(), spec, &local.Options{Schemes: store.Schemes{"mem": m.Opener()}, Pool: pool})
}

// Each stock reducer, named in a job file, over lines of two inputs that come in several objects.
func TestStockReducers(t *testing.T) {
	numbers := map[string]string{"a/1": "x\t3\ny\t-1\n", "a/2": "x\t10\nx\t3\n", "a/3": "y\t2"}
	entries := map[string]string{"a/1": "x\t5\tfive\nx\t7\tlast\n", "a/2": "x\t1\tone\\ttab\nx\t7\tseven\n"}
	sides := map[string]string{"a/1": "x\tl1\ny\tl2\n", "b/1": "x\tr1\nz\tr2\n", "b/2": "x\tr3\n"}
	tests := []struct {
		reducer string
		objects map[string]string
		want    string
	}{
		{`sum`, numbers, "x\t16\ny\t1\n"},
		{`"sum:float64"`, numbers, "x\t16\ny\t1\n"},
		{`count`, numbers, "x\t3\ny\t2\n"},
		{`min`, numbers, "x\t3\ny\t-1\n"},
		{`max`, numbers, "x\t10\ny\t2\n"},
		{`"max:string"`, numbers, "x\t3\ny\t2\n"},
		{`mean`, numbers, "x\t5.333333333333333\ny\t0.5\n"},
		{`identity`, numbers, "x\t10\nx\t3\nx\t3\ny\t-1\ny\t2\n"},
		{`top-k(2)`, numbers, "x\t[10,3]\ny\t[2,-1]\n"},
		{`"top-k:string(1)"`, numbers, "x\t[\"3\"]\ny\t[\"2\"]\n"},
		{`top-k-by(3)`, entries, "x\t[[7,\"last\"],[7,\"seven\"],[5,\"five\"]]\n"},
		{`first:int64`, entries, "x\tone\\ttab\n"},
		{`last:float64`, entries, "x\tseven\n"},
		{`distinct`, numbers, "x\t2\ny\t2\n"},
		{`distinct-approx`, numbers, "x\t2\ny\t2\n"},
		{`histogram(0, 3)`, numbers, "x\t[0,0,3]\ny\t[1,1,0]\n"},
		{`quantile(1)`, numbers, "x\t10\ny\t2\n"},
		{`quantiles(0, 1)`, numbers, "x\t{\"0\":3,\"1\":10}\ny\t{\"0\":-1,\"1\":2}\n"},
		{`'concat("; ")'`, numbers, "x\t10; 3; 3\ny\t-1; 2\n"},
		{`join`, sides, "x\t[\"l1\",\"r1\"]\nx\t[\"l1\",\"r3\"]\n"},
		{`join(left)`, sides, "x\t[\"l1\",\"r1\"]\nx\t[\"l1\",\"r3\"]\ny\t[\"l2\",null]\n"},
		{`join(outer)`, sides, "x\t[\"l1\",\"r1\"]\nx\t[\"l1\",\"r3\"]\ny\t[\"l2\",null]\nz\t[null,\"r2\"]\n"},
	}
	for _, tt := range tests {
		m := mem.New()
		inputs := `["mem:in/a/"]`
		for key, body := range tt.objects {
			if strings.HasPrefix(key, "b/") {
				inputs = `["mem:in/a/", "mem:in/b/"]`
			}
			if _, err := m.Bucket("in").Put(t.Context(), store.Key(key), []byte(body)); err != nil {
				t.Fatal(err)
			}
		}
		if _, err := runFile(t, m, fmt.Sprintf("inputs: %s\nreducer: %s", inputs, tt.reducer)); err != nil {
			t.Errorf("%s: %v", tt.reducer, err)
			continue
		}
		if got := read(t, m.Bucket("out"), "part-r-00000"); got != tt.want {
			t.Errorf("%s: got %q, want %q", tt.reducer, got, tt.want)
		}
	}
}

// A value that a reducer cannot take fails its object; one that it can take and not reduce fails the job, and names the key.
func TestReducerErrors(t *testing.T) {
	for _, tt := range []struct{ reducer, value, want string }{
		{"sum", "x", "a: line 1 of output: value is not of type int64"},
		{"first:int64", "7", "two: what it is sorted by"},
		{"top-k:string(1)", strings.Repeat("v", 33<<10), "longer than 32 KiB"},
		{"sum", "9223372036854775807\nk\t1", `key "k": sum overflows int64`},
	} {
		m := mem.New()
		if _, err := m.Bucket("in").Put(t.Context(), "a", []byte("k\t"+tt.value)); err != nil {
			t.Fatal(err)
		}
		if _, err := runFile(t, m, "inputs: [\"mem:in\"]\ntolerate: 0\nreducer: "+tt.reducer); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s of %.20s: got %v, want an error with %q", tt.reducer, tt.value, err, tt.want)
		}
	}
}
