package local_test

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/millrace/millrace/internal/agent"
	"github.com/millrace/millrace/internal/codecache"
	"github.com/millrace/millrace/internal/latency"
	"github.com/millrace/millrace/internal/local"
	"github.com/millrace/millrace/job"
	"github.com/millrace/millrace/store"
	"github.com/millrace/millrace/store/mem"
)

// A firstWrite notes when something was written first.
type firstWrite struct{ at time.Time }

func (w *firstWrite) Write(p []byte) (int, error) {
	if w.at.IsZero() {
		w.at = time.Now()
	}
	return len(p), nil
}

// BenchmarkJobStart takes the time from a job's beginning to what it prints of its first object: a Go program as WebAssembly, with a runner
// that stands ready and the module in the cache, and without either.
func BenchmarkJobStart(b *testing.B) {
	module := filepath.Join(b.TempDir(), "lines.wasm")
	build := exec.Command("go", "build", "-trimpath", "-ldflags=-s -w", "-o", module, "./testdata/lines")
	build.Env = append(os.Environ(), "GOOS=wasip1", "GOARCH=wasm")
	if text, err := build.CombinedOutput(); err != nil {
		b.Fatalf("%v\n%s", err, text)
	}
	m := mem.New()
	if _, err := m.Bucket("in").Put(b.Context(), "mail/1", bytes.Repeat([]byte("a line of mail\n"), 270)); err != nil {
		b.Fatal(err)
	}
	spec := &job.Spec{Inputs: []string{"mem:in/mail/"}, Program: job.Program{Engine: job.Wasm, Name: "lines", Path: module}, Slots: 1}
	kept := openCache(b) // as a process that runs job after job has one
	start := func(b *testing.B, warm bool) time.Duration {
		cache := kept
		if !warm {
			cache = openCache(b)
		}
		pool := agent.PoolFor(spec)
		defer func() {
			if err := pool.Close(); err != nil {
				b.Error(err)
			}
		}()
		if warm {
			pool.Fill(1)
			time.Sleep(100 * time.Millisecond) // it does, by then
		}
		var out firstWrite
		began := time.Now()
		_, err := local.Run(b.Context(), spec, &local.Options{
			Schemes: store.Schemes{"mem": m.Opener()}, Stdout: &out, Pool: pool, Cache: cache,
		})
		if err != nil {
			b.Fatal(err)
		}
		return out.at.Sub(began)
	}
	for _, name := range []string{"warm", "cold"} {
		b.Run(name, func(b *testing.B) {
			warm := name == "warm"
			if warm {
				start(b, true) // fills the cache
			}
			var took []time.Duration
			for b.Loop() {
				took = append(took, start(b, warm))
			}
			latency.Report(b, took)
		})
	}
}

func openCache(b *testing.B) *codecache.Cache {
	c, err := codecache.Open(filepath.Join(b.TempDir(), "cache"))
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		if err := c.Close(); err != nil {
			b.Error(err)
		}
	})
	return c
}
