package bench

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"iter"
	"testing"
	"time"

	"github.com/millrace/millrace/internal/cluster"
	"github.com/millrace/millrace/internal/coordinator"
	"github.com/millrace/millrace/internal/coordinator/plan"
	"github.com/millrace/millrace/job"
	"github.com/millrace/millrace/store"
)

// A catalogue lists mails that nobody reads.
type catalogue struct {
	store.Bucket
	objects int
}

func (c catalogue) List(context.Context, store.Key, store.Key) iter.Seq2[store.Object, error] {
	return func(yield func(store.Object, error) bool) {
		day := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
		for i := range c.objects {
			o := store.Object{
				Key: store.Key(fmt.Sprintf("2026/%03d/%08d.eml", i/10000, i)), Size: 4000 + int64(i%500),
				ETag: fmt.Sprintf("%032x", i), Modified: day.Add(time.Duration(i) * time.Second),
			}
			if !yield(o, nil) {
				return
			}
		}
	}
}

func (c catalogue) Open(context.Context, store.Key, string, int64, int64) (io.ReadCloser, error) {
	return nil, store.ErrNotExist
}

// BenchmarkResume is how long a job of a million objects, half of it done, is without a coordinator: from the death of one to where the next is ready to give
// out work. The log is on disk and synced; the plan is in a directory. Its splits are those of a job as it comes, or many small ones.
func BenchmarkResume(b *testing.B) {
	for _, c := range []struct {
		name  string
		split int
	}{{"splits", 0}, {"small-splits", 64}} {
		b.Run(c.name, func(b *testing.B) { resume(b, c.split) })
	}
}

func resume(b *testing.B, size int) {
	const objects = 1_000_000
	ctx, dir := b.Context(), b.TempDir()
	area := plan.NewDirArea(b.TempDir())
	log, closed := openLog(b, dir, 1)
	in := plan.Input{URI: store.URI{Scheme: "s3", Bucket: "mail"}, Bucket: catalogue{objects: objects}}
	var splits []job.Split
	sum, err := plan.Build(ctx, []plan.Input{in}, area, &plan.Options{Split: size}, func(s job.Split) error {
		splits = append(splits, s)
		return nil
	})
	if err != nil || sum.Objects != objects {
		b.Fatal(sum, err)
	}
	logs := []coordinator.Record{{Begun: 1}, {Plan: sum.Digest}}
	done := len(splits) / 2
	for i := range done {
		logs = append(logs, coordinator.Record{Committed: &coordinator.Committed{
			Attempt: job.AttemptID{Task: splits[2*i].Task, Try: 1}, Node: fmt.Sprintf("node-%d", i%100), Incarnation: 7,
			Result: coordinator.Result{
				Counters: job.Counters{Objects: int64(splits[2*i].Objects), Bytes: splits[2*i].Bytes, Emitted: 12345, Run: time.Second, CPU: time.Second, PeakMemory: 64 << 20},
				Vector:   uint64(i) * 0x9E3779B97F4A7C15, Shuffle: 1 << 20,
			},
		}})
	}
	for len(logs) > 0 { // in groups, to be done sooner
		group := logs[:min(len(logs), 100)]
		logs = logs[len(group):]
		var records [][]byte
		for i := range group {
			r, err := json.Marshal(&group[i])
			if err != nil {
				b.Fatal(err)
			}
			records = append(records, r)
		}
		if err := log.Append(ctx, 1, records...); err != nil {
			b.Fatal(err)
		}
	}
	closed()
	for epoch := uint64(2); b.Loop(); epoch++ {
		log, closed := openLog(b, dir, epoch)
		var r coordinator.Replay
		for rec, err := range log.Read(ctx) {
			if err == nil {
				err = r.Take(rec.Lead, rec.Data)
			}
			if err != nil {
				b.Fatal(err)
			}
		}
		loaded, err := plan.Load(ctx, area, r.Plan)
		if err != nil {
			b.Fatal(err)
		}
		m, err := coordinator.Resume(coordinator.Config{
			Job: "resumed", Epoch: epoch, Reducers: 16, Tolerates: func(int64, int64) bool { return true },
		}, &r, loaded)
		if err != nil {
			b.Fatal(err)
		}
		now := time.Now()
		m.At(now)
		m.Step(coordinator.Started{})
		want := coordinator.Want{Sender: coordinator.Sender{Job: "resumed", Epoch: epoch, Node: "node-0", Incarnation: 7}}
		effects := m.Step(coordinator.Asked{Ticket: 1, Want: want, Now: now})
		g, ok := effects[len(effects)-1].(coordinator.Grant)
		b.StopTimer()
		if p := m.Progress(); !ok || g.Lease.Attempt.Task != "m-00001" || p.Maps != done || p.MapTotal != len(splits) {
			b.Fatalf("%+v; %d of %d maps are done", g.Lease, p.Maps, p.MapTotal)
		}
		closed()
		b.StartTimer()
	}
	b.ReportMetric(float64(len(splits)), "splits")
	b.ReportMetric(float64(done), "committed")
}

// openLog starts an engine on what lies in dir, and leads the job's log.
func openLog(b *testing.B, dir string, epoch uint64) (*cluster.Log, func()) {
	b.Helper()
	c, err := cluster.Embed(&cluster.Options{Dir: dir})
	if err != nil {
		b.Fatal(err)
	}
	log, err := c.Log(b.Context(), "resumed")
	if err == nil {
		err = log.Lead(b.Context(), epoch)
	}
	if err != nil {
		b.Fatal(err)
	}
	return log, func() {
		if err := c.Close(); err != nil {
			b.Error(err)
		}
	}
}
