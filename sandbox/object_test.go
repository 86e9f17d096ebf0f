package sandbox

import (
	"bytes"
	"context"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"testing"
	"time"

	"github.com/millrace/millrace/internal/guest"
	"github.com/millrace/millrace/internal/latency"
	"github.com/millrace/millrace/internal/mailgen"
)

// buildMail compiles one of the programs testdata/mail-*: "c" with clang, the others with the Go SDK.
func buildMail(t testing.TB, name string) []byte {
	t.Helper()
	out := filepath.Join(t.TempDir(), name+".wasm")
	cmd := goBuild(out, "mail-"+name, "GOOS=wasip1", "GOARCH=wasm")
	if name == "c" {
		cmd = clang(t, out, "testdata/mail-c/main.c")
	}
	if text, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("compile %s: %v\n%s", name, err, text)
	}
	code, err := os.ReadFile(out)
	if err != nil {
		t.Fatal(err)
	}
	return code
}

// goBuild returns the command that compiles a program in testdata to out.
func goBuild(out, program string, env ...string) *exec.Cmd {
	cmd := exec.Command("go", "build", "-trimpath", "-ldflags=-s -w", "-o", out, "./testdata/"+program)
	cmd.Env = append(os.Environ(), env...)
	return cmd
}

// clang returns the command that compiles a program in C.
func clang(t testing.TB, out, source string) *exec.Cmd {
	if _, err := exec.LookPath("clang"); err != nil {
		t.Skip("no clang here")
	}
	return exec.Command("clang", "--target=wasm32-wasi", "-O2", "-Wall", "-Werror", "-nodefaultlibs", "-Wl,--strip-all", "-o", out, source, "-lc")
}

// openMail compiles and opens one of those programs. It is instantiated afresh for each run if it must be.
func openMail(t testing.TB, name string, fresh bool) *wasmGuest {
	t.Helper()
	g, err := OpenWasm(context.Background(), buildMail(t, name))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { g.Close() })
	w := g.(*wasmGuest)
	if fresh {
		w.code.fixed = "this is a test"
	}
	return w
}

// An answer is what a guest of the SDK says about one object.
type answer struct {
	records int
	failed  string
}

func (a *answer) Record(_, _ []byte) error { a.records++; return nil }
func (a *answer) Text([]byte) error        { a.records++; return nil }
func (a *answer) Count(string, int64)      {}
func (a *answer) Fail(reason string)       { a.failed = reason }
func (a *answer) OK()                      {}

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
