package sim_test

import (
	"encoding/xml"
	"flag"
	"fmt"
	"io"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/millrace/millrace/placement/sim"
)

// small is the standard cluster, with a hundredth of its nodes and of what lies on them.
func small() sim.Options {
	o := sim.Standard()
	o.Nodes, o.Objects = 100, 1_000_000
	return o
}

func run(t testing.TB, o sim.Options) *sim.Result {
	t.Helper()
	r, err := sim.Run(o)
	if err != nil {
		t.Fatalf("seed %d: %v", o.Seed, err)
	}
	t.Logf("%d nodes, %d objects, seed %d: %d tasks, %d attempts; %.1f %% of objects local, %.2f × ideal of %v; %.0f tasks/s, %d MB",
		o.Nodes, o.Objects, o.Seed, r.Tasks, r.Attempts, 100*r.LocalObjects, r.Ratio(), r.Ideal.Round(time.Millisecond), r.Rate(), r.Peak>>20)
	return r
}

// TestSmall holds a small cluster to what is asked of a large one.
func TestSmall(t *testing.T) {
	for _, sets := range []bool{false, true} {
		o := small()
		o.Sets = sets
		r := run(t, o)
		if r.LocalObjects < 0.9 {
			t.Errorf("%.1f %% of objects are mapped on a node that holds them, want 90", 100*r.LocalObjects)
		}
		if r.Ratio() > 1.2 {
			t.Errorf("the job takes %.2f × as long as it had to, want at most 1.2", r.Ratio())
		}
		if r.Local+r.Near+r.Far != r.Tasks {
			t.Errorf("%d tasks of %d counted", r.Local+r.Near+r.Far, r.Tasks)
		}
	}
}

// Where all nodes are alike and live, next to nothing is mapped elsewhere.
func TestHealthy(t *testing.T) {
	o := small()
	o.Slow, o.Dead, o.HotObjects, o.HotNodes = 0, 0, 0, 0
	if r := run(t, o); r.LocalObjects < 0.99 || r.Ratio() > 1.1 || r.Attempts > r.Tasks*101/100 {
		t.Errorf("%.1f %% of objects local, %.2f × ideal, %d attempts of %d tasks", 100*r.LocalObjects, r.Ratio(), r.Attempts, r.Tasks)
	}
}

// The same options give the same result, but for what was measured.
func TestRepeats(t *testing.T) {
	o := small()
	o.Objects /= 4
	a, b := run(t, o), run(t, o)
	a.Decided, b.Decided, a.Peak, b.Peak = 0, 0, 0, 0
	if *a != *b {
		t.Errorf("got %+v, then %+v", *a, *b)
	}
}

var picture = flag.String("sim.picture", "", "draw the picture of docs/scale.md to this file, which takes minutes; without it a small one is drawn, and dropped")

func TestPicture(t *testing.T) {
	o := small()
	o.Objects /= 20
	if *picture != "" {
		o.Nodes, o.Objects = 1000, 10_000_000
	}
	patience := sim.Panel{Title: "Patience", Axis: "of a slot with nothing near it, seconds"}
	dead := sim.Panel{Title: "Dead nodes", Axis: "share of the nodes; half of them die in mid-job"}
	plot(t, o, &patience, []float64{0, 1, 3, 10, 30}, "%g", func(o *sim.Options, v float64) { o.Patience = time.Duration(v * float64(time.Second)) })
	plot(t, o, &dead, []float64{0, 0.02, 0.05, 0.1, 0.2}, "%g", func(o *sim.Options, v float64) { o.Dead = v })
	for i, s := range dead.Steps {
		dead.Steps[i] = map[string]string{"0": "0 %", "0.02": "2 %", "0.05": "5 %", "0.1": "10 %", "0.2": "20 %"}[s]
	}
	svg := sim.Draw([]sim.Panel{patience, dead})
	d := xml.NewDecoder(strings.NewReader(string(svg)))
	for {
		if _, err := d.Token(); err == io.EOF {
			break
		} else if err != nil {
			t.Fatal(err)
		}
	}
	if *picture != "" {
		if err := os.WriteFile(*picture, svg, 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

// plot runs jobs with one option at some values.
func plot(t *testing.T, o sim.Options, p *sim.Panel, values []float64, format string, set func(*sim.Options, float64)) {
	for _, sets := range []bool{false, true} {
		name := "ring"
		if sets {
			name = "sets of nodes"
		}
		ratio, share := sim.Line{Name: name}, sim.Line{Name: name}
		p.Steps = nil
		for _, v := range values {
			o := o
			o.Sets = sets
			set(&o, v)
			r := run(t, o)
			ratio.At, share.At = append(ratio.At, r.Ratio()), append(share.At, r.LocalObjects)
			p.Steps = append(p.Steps, fmt.Sprintf(format, v))
		}
		p.Ratios, p.Shares = append(p.Ratios, ratio), append(p.Shares, share)
	}
}

var objects = flag.Int64("sim.objects", 100_000_000, "objects of BenchmarkPlacement")

// BenchmarkPlacement runs a job of a hundred million objects on the standard cluster. It is to be run on one core (-cpu 1).
func BenchmarkPlacement(b *testing.B) {
	for name, sets := range map[string]bool{"10000-nodes": false, "10000-nodes-in-sets": true} {
		b.Run(name, func(b *testing.B) {
			o := sim.Standard()
			o.Objects, o.Sets = *objects, sets
			for b.Loop() {
				r := run(b, o)
				b.ReportMetric(100*r.LocalObjects, "local-%")
				b.ReportMetric(r.Rate(), "tasks/s")
				b.ReportMetric(float64(r.Peak)/1e6, "peak-MB")
				b.ReportMetric(r.Ratio(), "makespan/ideal")
				b.ReportMetric(float64(r.Tasks), "tasks")
			}
		})
	}
}
