package agent

import (
	"math/rand/v2"
	"testing"

	"github.com/millrace/millrace/internal/coordinator"
	"github.com/millrace/millrace/job"
	"github.com/millrace/millrace/shuffle"
)

// BenchmarkFetch has one reduce attempt take runs of one other node, over loopback with TLS at both ends, beside reading them where they lie.
func BenchmarkFetch(b *testing.B) {
	for _, c := range []struct {
		name       string
		runs, size int
	}{{"64MB", 1, 64 << 20}, {"1000x10KB", 1000, 10 << 10}} {
		s := newSite(b, words(), lines(1, 1), 1, 1)
		keeps, takes := s.node("a", nil), s.node("b", nil)
		rs, all := manyRuns(b, c.runs, c.size)
		k := &keeper{job: "j", node: "a", incarnation: 1, runs: rs, reading: make(chan struct{}, maxReading)}
		forget, err := keeps.flight.Answer(runsOf("j"), k.answer)
		if err != nil {
			b.Fatal(err)
		}
		defer forget()
		a := &Agent{job: Job{
			Sender: coordinator.Sender{Job: "j", Epoch: 1, Node: "b", Incarnation: 1}, SpillDir: b.TempDir(),
			Network: &Network{Flight: takes.flight},
		}}
		b.Run(c.name+"/fetched", func(b *testing.B) {
			b.SetBytes(int64(c.runs * c.size))
			for b.Loop() {
				f := newFetcher(b.Context(), &try{a: a, lease: &coordinator.Lease{Attempt: job.AttemptID{Task: "r-00000", Try: 1}}})
				f.want(all, s.addresses())
				for n := 0; n < len(all); {
					<-f.wake
					came, _, err := f.take()
					if err != nil {
						b.Fatal(err)
					}
					n += len(came)
				}
				if err := f.close(); err != nil {
					b.Fatal(err)
				}
			}
		})
		b.Run(c.name+"/local", func(b *testing.B) {
			b.SetBytes(int64(c.runs * c.size))
			buf := make([]byte, 64<<10)
			for b.Loop() {
				for _, r := range all {
					kept, err := rs.get(r.Attempt, r.Vector)
					if err != nil {
						b.Fatal(err)
					}
					from := kept.sections[0].Offset
					for at := 0; at < c.size; at += len(buf) {
						if _, err := kept.file.ReadAt(buf[:min(len(buf), c.size-at)], from+int64(at)); err != nil {
							b.Fatal(err)
						}
					}
				}
			}
		})
	}
}

// manyRuns returns so many runs of that size, in one file.
func manyRuns(b *testing.B, count, size int) (*runs, []coordinator.Run) {
	b.Helper()
	f, err := newSpill(b.TempDir())
	if err != nil {
		b.Fatal(err)
	}
	body := make([]byte, size)
	_, _ = rand.NewChaCha8([32]byte{}).Read(body)
	rs := &runs{}
	var all []coordinator.Run
	for i := range count {
		if _, err := f.Write(body); err != nil {
			b.Fatal(err)
		}
		sections := []shuffle.Section{{Offset: int64(i * size), Length: int64(size), Records: 1, Emitted: 1, Digest: uint64(i)}}
		id := job.AttemptID{Task: job.MapTask(i), Try: 1}
		rs.add(id, &run{f, sections, int64(size)})
		all = append(all, coordinator.Run{Attempt: id, Node: "a", Incarnation: 1, Vector: vector(sections)})
	}
	b.Cleanup(func() { _ = f.Close() })
	return rs, all
}
