package commit

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/millrace/millrace/store"
)

// runSingle is a job that puts three pieces together, one of them empty, after an attempt that lost.
func runSingle(ctx context.Context, b store.Bucket, id string, o *Options) (err error) {
	c, err := Take(ctx, b, "out", id, o)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, c.Release(ctx)) }()
	if c.Finished() != nil {
		return nil
	}
	u := c.Uploads()
	var parts []Part
	for n, body := range []string{"lost", "one " + id, "", " three"} {
		p, err := upload1(ctx, b, u, fmt.Sprintf("r-%05d.1", n), fmt.Sprintf("%spart-r-%05d", Pieces(id), max(n-1, 0)), body)
		if err != nil {
			return err
		}
		if n > 0 {
			parts = append(parts, p)
		}
	}
	single, err := c.Assemble(ctx, "all.txt", parts)
	if err != nil {
		return err
	}
	if err := c.Decide(ctx, &Decision{Parts: []Part{single}}); err != nil {
		return err
	}
	m, err := c.Finish(ctx)
	if err != nil {
		return err
	}
	sum := sha256.Sum256([]byte("one " + id + " three"))
	if len(m.Parts) != 1 || m.Parts[0].Key != "all.txt" || m.Parts[0].Records != 3 || m.Parts[0].SHA256 != hex.EncodeToString(sum[:]) {
		return fmt.Errorf("manifest %+v", m)
	}
	return nil
}

func singleOf(id string) string {
	return "out/_manifest.json=" + id + "\nout/all.txt=one " + id + " three"
}

// A job that puts its parts together dies before and after every change that it makes to the store. What it leaves is nothing or, once it has
// decided, everything; and the next job finds no trace of it.
func TestAssembleCrash(t *testing.T) {
	steps := map[string]bool{}
	for at := 1; ; at++ {
		w := newWorld()
		m := &mortal{Bucket: w.bucket, dieAt: (at + 1) / 2, after: at%2 == 0}
		o := w.options(1)
		o.Step = func(name string) {
			m.mu.Lock()
			defer m.mu.Unlock()
			steps[name] = true
		}
		err := runSingle(t.Context(), m, "job1", o)
		if !m.dead {
			if err != nil {
				t.Fatal(err)
			}
			break
		}
		if now := w.visible(t); now != "" && !strings.Contains(w.hidden(t), decisionName) && now != singleOf("job1") {
			t.Fatalf("crash at %d: no decision, and visible is\n%s", at, now)
		}
		w.bury(1)
		err = runSingle(t.Context(), w.bucket, "job2", w.options(2))
		if err != nil && !errors.Is(err, ErrExists) {
			t.Fatalf("crash at %d: %v", at, err)
		}
		if got := w.visible(t); got != singleOf("job1") && got != singleOf("job2") {
			t.Errorf("crash at %d: got\n%s", at, got)
		}
		if left := w.hidden(t); left != "" || w.bucket.Pending() > m.unrecorded() {
			t.Errorf("crash at %d: left behind: %s, %d pending", at, left, w.bucket.Pending())
		}
	}
	for _, name := range []string{"publish a piece", "create", "copy a piece", "seal"} {
		if !steps["assemble: "+name] {
			t.Errorf("no step assemble: %s", name)
		}
	}
}

// A piece that is not what was sealed is not published.
func TestAssembleChanged(t *testing.T) {
	for what, change := range map[string]func(p *store.Pending){
		"another content": func(p *store.Pending) { p.SHA256 = strings.Repeat("0", 64) },
		"another size":    func(p *store.Pending) { p.Size++ },
	} {
		w := newWorld()
		c, err := Take(t.Context(), w.bucket, "out", "job1", w.options(1))
		if err != nil {
			t.Fatal(err)
		}
		p, err := upload1(t.Context(), w.bucket, c.Uploads(), "r-00000.1", string(Pieces("job1"))+"part-r-00000", "text")
		if err != nil {
			t.Fatal(err)
		}
		change(&p.Pending)
		if _, err := c.Assemble(t.Context(), "all.txt", []Part{p}); err == nil {
			t.Errorf("%s: assembled", what)
		}
		if err := c.Release(t.Context()); err != nil {
			t.Error(err)
		}
		if left := w.hidden(t) + w.visible(t); left != "" || w.bucket.Pending() > 0 {
			t.Errorf("%s: left behind: %s, %d pending", what, left, w.bucket.Pending())
		}
	}
}
