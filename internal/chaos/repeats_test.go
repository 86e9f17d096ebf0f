package chaos

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/millrace/millrace/internal/codecache"
	"github.com/millrace/millrace/job"
	"github.com/millrace/millrace/store/mem"
)

// A program counts equal records of a large object before it sends them. What is published is the same, and what is emitted is counted as it was emitted: as where
// the same words lie in many objects, and the program runs in this process.
func TestRepeats(t *testing.T) {
	var words *kind
	for _, k := range kinds() {
		if k.name == "words" {
			words = k
		}
	}
	cache, err := codecache.Open(filepath.Join(t.TempDir(), "cache"))
	if err != nil {
		t.Fatal(err)
	}
	defer cache.Close()
	s := &sameness{
		workshop: newWorkshop(t), cache: cache, root: t.TempDir(), mem: mem.New(), put: make(map[string]bool), want: make(map[string]outcome),
	}
	engine := job.Native
	if os.Geteuid() != 0 {
		engine = job.Wasm // others have no jail for native programs
	}
	for seed, c := range []choice{
		{isolate: job.IsolateObject}, {isolate: job.IsolateSplit}, {isolate: job.IsolateObject, check: true}, {isolate: job.IsolateSplit, budget: 1},
	} {
		c.seed, c.kind, c.format, c.reducers, c.partition = uint64(seed), words, job.Text, 3, job.ByHash
		c.engine, c.program, c.in, c.out, c.objects, c.slots = engine, words.sdk[0], "mem", "mem", 1, 1
		if err := s.try(t, &c); err != nil {
			t.Errorf("%v: %v", &c, err)
		}
	}
	for _, o := range s.want {
		if o.emitted[0] < 10_000 || len(o.emitted) != 4 {
			t.Errorf("%d records: too few for any to be counted in the program", o.emitted)
		}
	}
}
