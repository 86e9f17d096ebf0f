package sandboxtest

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/millrace/millrace/internal/latency"
	"github.com/millrace/millrace/sandbox"
)

// BenchmarkStop lets guests that do not end run into a limit of 50 ms, one operation each, in a jail, and reports how much later they were gone.
func BenchmarkStop(b *testing.B) {
	modules := map[string][]byte{}
	for _, a := range WasmAttacks() {
		modules[a.Name] = a.Code
	}
	for _, tt := range []struct {
		name   string
		engine Engine
		attack string // a module, or arguments of the probe
	}{
		{"wasm-loop", Wasm, "endless loop"},
		{"wasm-calls", Wasm, "calls without a loop"},
		{"wasm-fill", Wasm, "memory.fill in a loop"},
		{"native-spin", Native, "threads"},
		{"native-stubborn", Native, "stubborn"},
	} {
		b.Run(tt.name, func(b *testing.B) {
			run := &sandbox.Run{Limits: sandbox.Limits{Wall: 50 * time.Millisecond}}
			code := modules[tt.attack]
			if tt.engine == Native {
				open(b, Native, nil) // or skip
				code, run.Args = probes[Native](b), []string{tt.attack}
			}
			newJail := func() *Jail {
				j, err := Open(b, tt.engine, code, nil)
				if err != nil {
					b.Fatal(err)
				}
				j.Grace = 250 * time.Millisecond // as agents have it
				return j
			}
			j := newJail()
			var late []time.Duration
			for b.Loop() {
				began := time.Now()
				_, err := j.Run(context.Background(), run)
				late = append(late, time.Since(began)-run.Wall)
				if !errors.Is(err, sandbox.ErrLimit) {
					b.Fatal(err)
				}
				if strings.HasSuffix(err.Error(), ": killed") {
					j = newJail()
				}
			}
			latency.ReportWorst(b, late)
		})
	}
}
