package sandbox

import (
	"bytes"
	"context"
	"io"
	"regexp"
	"runtime"
	"testing"
	"time"

	"github.com/millrace/millrace/internal/guest"
	"github.com/millrace/millrace/internal/latency"
	"github.com/millrace/millrace/internal/mailgen"
)

// openMail opens one of the programs testdata/mail-*: "c" in C, the others written with the Go SDK. It is instantiated afresh for each run if it must be.
func openMail(t testing.TB, name string, fresh bool) *wasmGuest {
	t.Helper()
	g := programOf(t, "mail-"+name).open(t)
	if fresh {
		g.code.fixed = "this is a test"
	}
	return g
}

// An answer is what a guest of the SDK says about one object.
type answer struct {
	records int
	failed  string
}

func (a *answer) Records(_, _ []byte, n int64) error { a.records += int(n); return nil }
func (a *answer) Text([]byte) error                  { a.records++; return nil }
func (a *answer) Count(string, int64)                {}
func (a *answer) Fail(reason string)                 { a.failed = reason }
func (a *answer) OK()                                {}

// mapMail runs a guest of the SDK over one mail, as a runner does.
func mapMail(g Guest, key string, body []byte) (answer, error) {
	a := answer{}
	replies := guest.NewReplies(&a, 1, guest.Bounds{})
	m := &guest.Meta{Key: key, URI: "s3://mail/" + key, ETag: "d41d8cd98f00b204e9800998ecf8427e", Size: int64(len(body)), Modified: time.Unix(epoch, 0)}
	_, err := g.Run(context.Background(), &Run{
		Env: append(guest.Env(guest.Map), guest.EnvOnce+"=1"), Seed: 1,
		Streams: Streams{Stdin: guest.ObjectStream(nil, m, nil, body), Stdout: replies},
	})
	if err == nil {
		err = replies.Close()
	}
	return a, err
}

// mapCommand runs a command over one mail.
func mapCommand(g Guest, _ string, body []byte) (answer, error) {
	var out bytes.Buffer
	_, err := g.Run(context.Background(), &Run{Streams: Streams{Stdin: bytes.NewReader(body), Stdout: &out}})
	return answer{records: bytes.Count(out.Bytes(), []byte{'\n'})}, err
}

// mails returns n mails of 3 to 5 KB, or a tenth under the race detector.
func mails(n int) (bodies [][]byte) {
	if raced {
		n = max(1, n/10)
	}
	gen := mailgen.New(1, &mailgen.Options{Mean: 4096, Invoices: 0.02})
	for i := 0; len(bodies) < n; i++ {
		_, body := gen.Mail(i)
		if len(body) < 3<<10 || len(body) > 5<<10 {
			continue
		}
		bodies = append(bodies, body)
	}
	return bodies
}

var (
	invoice = regexp.MustCompile(`invoice \d+`)
	address = regexp.MustCompile(`[a-z]+@acme\.com`)
)

func matchingLines(p *regexp.Regexp, body []byte) (found [][]byte) {
	for line := range bytes.Lines(body) {
		if m := p.Find(line); m != nil {
			found = append(found, m)
		}
	}
	return found
}

// BenchmarkObject maps mails of 4 KB, one operation each, in the process of the benchmark.
func BenchmarkObject(b *testing.B) {
	bodies := mails(1000)
	tests := []struct {
		name, program string
		fresh         bool
		run           func(g Guest, key string, body []byte) (answer, error)
		finds         *regexp.Regexp // nil: nothing
	}{
		{"wasm-go-empty", "empty", false, mapMail, nil},
		{"wasm-go-regexp", "regexp", false, mapMail, invoice},
		{"wasm-go-address", "address", false, mapMail, address},
		{"wasm-go-hostsearch", "hostsearch", false, mapMail, address},
		{"wasm-c-regexp", "c", false, mapCommand, invoice},
		{"wasm-go-fresh", "empty", true, mapMail, nil},
	}
	for _, tt := range tests {
		b.Run(tt.name, func(b *testing.B) {
			g := openMail(b, tt.program, tt.fresh)
			matches := make([]int, len(bodies))
			for i := range bodies {
				if tt.finds != nil {
					matches[i] = len(matchingLines(tt.finds, bodies[i]))
				}
			}
			benchmarkObjects(b, func(i int) {
				a, err := tt.run(g, "2026/01/mail.eml", bodies[i%len(bodies)])
				if err != nil || a.failed != "" {
					b.Fatal(err, a.failed)
				}
				if want := matches[i%len(bodies)]; a.records != want {
					b.Fatalf("mail %d: %d records; want %d", i, a.records, want)
				}
			})
		})
	}
	for _, tt := range []struct {
		name  string
		finds *regexp.Regexp
	}{{"plain-go", invoice}, {"plain-go-address", address}} {
		b.Run(tt.name, func(b *testing.B) {
			sink := 0
			benchmarkObjects(b, func(i int) { sink += len(matchingLines(tt.finds, bodies[i%len(bodies)])) })
			_, _ = io.Discard.Write([]byte{byte(sink)})
		})
	}
}

// benchmarkObjects calls f for each operation, after some that do not count, and reports how long half and 99 % of the calls took at most.
func benchmarkObjects(b *testing.B, f func(i int)) {
	for i := range min(1000, 10*b.N) {
		f(i)
	}
	took := make([]time.Duration, 0, b.N)
	runtime.GC()
	b.ResetTimer()
	for i := range b.N {
		begin := time.Now()
		f(i)
		took = append(took, time.Since(begin))
	}
	b.StopTimer()
	latency.Report(b, took)
}
