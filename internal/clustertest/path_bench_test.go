package clustertest_test

import (
	"context"
	"fmt"
	"path/filepath"
	"testing"
	"time"

	"github.com/millrace/millrace/internal/clustertest"
	"github.com/millrace/millrace/internal/latency"
	"github.com/millrace/millrace/internal/local"
	"github.com/millrace/millrace/internal/mailgen"
	"github.com/millrace/millrace/internal/runner"
	"github.com/millrace/millrace/internal/server"
	"github.com/millrace/millrace/job"
	"github.com/millrace/millrace/mapper/builtin"
	"github.com/millrace/millrace/store"
	"github.com/millrace/millrace/store/file"
)

func TestMain(m *testing.M) {
	runner.Child()
	m.Run()
}

var files = store.Schemes{"file": file.Open}

// newMails writes mails, and returns the directory.
func newMails(b *testing.B, n int) string {
	b.Helper()
	dir := b.TempDir()
	if _, err := mailgen.New(7, nil).Write(dir, n); err != nil {
		b.Fatal(err)
	}
	return dir
}

// BenchmarkPath takes the time of the same job, words of mails with one reducer, in one process and by a server and one agent that run already.
func BenchmarkPath(b *testing.B) {
	const slots = 2
	in, out := newMails(b, 10_000), b.TempDir()
	n := 0
	spec := func() *job.Spec {
		n++
		return &job.Spec{Inputs: []string{in}, Output: filepath.Join(out, fmt.Sprint(n)), Program: job.Program{Engine: job.Builtin, Name: "words"}, Reducers: 1, Slots: slots}
	}
	b.Run("run", func(b *testing.B) {
		for b.Loop() {
			if _, err := local.Run(b.Context(), spec(), &local.Options{Schemes: files}); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("cluster", func(b *testing.B) {
		client := newCluster(b, slots)
		for b.Loop() {
			run(b, client, spec(), nil)
		}
	})
}

func newCluster(b *testing.B, slots int) *server.Client {
	b.Helper()
	c := clustertest.New(b, files)
	c.Server("server-1")
	c.Agent("node-1", slots, nil)
	client := c.Client("me")
	for { // until the agent is a member
		ctx, cancel := context.WithTimeout(b.Context(), time.Minute)
		_, err := client.Jobs(ctx)
		cancel()
		if err == nil {
			break
		}
	}
	return client
}

func run(b *testing.B, client *server.Client, spec *job.Spec, o *server.SubmitOptions) {
	b.Helper()
	j, err := client.Submit(b.Context(), spec, o)
	if err != nil {
		b.Fatal(err)
	}
	s, err := j.Wait(b.Context())
	if err != nil || s.State != server.Succeeded {
		b.Fatalf("%v, %s: %s", err, s.State, s.Error)
	}
}

// A firstWrite notes when something was written first.
type firstWrite struct{ at time.Time }

func (w *firstWrite) Write(p []byte) (int, error) {
	if w.at.IsZero() {
		w.at = time.Now()
	}
	return len(p), nil
}

// BenchmarkSubmit takes the time from a job's submission to an idle cluster until the first line that its first mapper prints is at the client.
func BenchmarkSubmit(b *testing.B) {
	in := newMails(b, 10)
	client := newCluster(b, 2)
	grep := &builtin.GrepParams{Patterns: []string{"Subject"}}
	spec := &job.Spec{Inputs: []string{in}, Program: job.Program{Engine: job.Builtin, Name: "grep"}, Params: grep.Encode()}
	var took []time.Duration
	for b.Loop() {
		var out firstWrite
		began := time.Now()
		run(b, client, spec, &server.SubmitOptions{Stdout: &out})
		if out.at.IsZero() {
			b.Fatal("nothing was printed")
		}
		took = append(took, out.at.Sub(began))
	}
	latency.Report(b, took)
}
