package commit

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/millrace/millrace/job"
	"github.com/millrace/millrace/store"
)

func pending(keys ...string) []Part {
	var parts []Part
	for _, k := range keys {
		parts = append(parts, Part{Pending: store.Pending{Handle: store.Handle{Key: store.Key(k), ID: "p1"}}})
	}
	return parts
}

func TestDecideRefuses(t *testing.T) {
	w := newWorld()
	c, err := Take(t.Context(), w.bucket, "out/", "j", w.options(1))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.Finish(t.Context()); err == nil || err.Error() != "output mem:b/out/: finish: nothing was decided" {
		t.Errorf("finish before the decision: got %v", err)
	}
	tests := []struct {
		d    Decision
		want string
	}{
		{Decision{Parts: pending("out/a", "out/b", "out/a")}, "decision publishes a key twice"},
		{Decision{Parts: pending("out/a"), Failed: pending("out/a")}, "decision publishes a key twice"},
		{Decision{Parts: pending("outer/a")}, `"outer/a" is not a part of the output`},
		{Decision{Parts: pending("out/")}, `"out/" is not a part of the output`},
		{Decision{Parts: pending("out/_manifest.json")}, `"out/_manifest.json" is not a part of the output`},
		{Decision{Parts: pending("out/_millrace/x")}, `"out/_millrace/x" is not a part of the output`},
	}
	for _, tt := range tests {
		if err := c.Decide(t.Context(), &tt.d); err == nil || err.Error() != "output mem:b/out/: decide: "+tt.want {
			t.Errorf("got %v, want %s", err, tt.want)
		}
	}
	if err := c.Decide(t.Context(), &Decision{}); err != nil {
		t.Fatal(err)
	}
	if err := c.Decide(t.Context(), &Decision{}); err == nil || err.Error() != "output mem:b/out/: decide: decided already" {
		t.Errorf("second decision: got %v", err)
	}
	m, err := c.Finish(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if m.Job != "j" || m.Version != 1 || m.Created.IsZero() {
		t.Errorf("got manifest %+v", m)
	}
	if err := c.Release(t.Context()); err != nil {
		t.Fatal(err)
	}
}

// A decision whose writer did not learn that it was written is not thrown away.
func TestReleaseKeepsADecision(t *testing.T) {
	w := newWorld()
	c, err := Take(t.Context(), w.bucket, "out/", "a", w.options(1))
	if err != nil {
		t.Fatal(err)
	}
	p, err := upload1(t.Context(), w.bucket, c.Uploads(), "m-00000.1", "part-00000", "x")
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Decide(t.Context(), &Decision{Parts: []Part{p}, Manifest: job.Manifest{Format: job.Text}}); err != nil {
		t.Fatal(err)
	}
	if err := c.Release(t.Context()); err != nil {
		t.Fatal(err)
	}
	next, err := Take(t.Context(), w.bucket, "out/", "b", w.options(1))
	if err != nil {
		t.Fatal(err)
	}
	if m := next.Finished(); m == nil || m.Job != "a" || m.Format != job.Text || len(m.Parts) != 1 || m.Parts[0].Key != "part-00000" || m.Parts[0].Records != 1 {
		t.Errorf("got %+v, want the manifest of job a", m)
	}
	if err := next.Release(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got, want := w.visible(t), "out/_manifest.json=a\nout/part-00000=x"; got != want || w.hidden(t) != "" {
		t.Errorf("got %s and %s, want %s", got, w.hidden(t), want)
	}
}

func TestDiscardOfALoser(t *testing.T) {
	w := newWorld()
	u := &Uploads{Bucket: w.bucket, Prefix: "out", Job: "j"}
	p, err := upload1(t.Context(), w.bucket, u, "m-00000.1", "part-00000", "x")
	if err != nil {
		t.Fatal(err)
	}
	if err := u.Discard(t.Context(), "m-00000.1", p.Pending.Handle); err != nil {
		t.Fatal(err)
	}
	if w.hidden(t) != "" || w.bucket.Pending() != 0 {
		t.Errorf("left behind: %s, %d pending", w.hidden(t), w.bucket.Pending())
	}
}

// Whatever lies in a work directory, nothing outside of the output is touched and no upload that is not of it discarded.
func FuzzWorkDir(f *testing.F) {
	f.Add("commit.json", `{"version":1,"job":"a","claim":"claim-a-00000000.json","manifest":{"job":"a"},"parts":[{"pending":{"key":"out/part-00000","id":"p1"}}],"delete":["out/old"]}`)
	f.Add("commit.json", `{"version":1,"job":"a","claim":"claim-a-00000000.json","manifest":{"job":"a"},"delete":["other/x"]}`)
	f.Add("uploads/x.json", `{"handle":{"key":"other/y","id":"p1"}}`)
	f.Add("claim-x.json", `{"job":"a","host":"here","pid":66}`)
	f.Fuzz(func(t *testing.T, name, body string) {
		if name == "" || len(name) > 500 || strings.HasPrefix(name, claimPrefix) && !strings.Contains(body, `"here"`) {
			return // a claim of another host takes its time
		}
		w := newWorld()
		w.bury(66)
		ctx := context.Background()
		if _, err := w.bucket.Create(ctx, "other/y", nil); err != nil {
			t.Fatal(err)
		}
		for key, text := range map[store.Key]string{"other/x": "x", store.Key("out/_millrace/" + name): body} {
			if _, err := w.bucket.Put(ctx, key, []byte(text)); errors.Is(err, store.ErrKey) {
				return
			} else if err != nil {
				t.Fatal(err)
			}
		}
		o := w.options(1)
		o.Dead = func(Owner) (bool, bool) { return true, true }
		Clean(ctx, w.bucket, "out/", o) // may well refuse
		if got := w.body(t, "other/x"); got != "x" || w.bucket.Pending() != 1 {
			t.Errorf("touched what is not of the output: %q, %d pending", got, w.bucket.Pending())
		}
	})
}
