package mem_test

import (
	"context"
	"fmt"
	"testing"

	"go.uber.org/goleak"

	"github.com/millrace/millrace/store"
	"github.com/millrace/millrace/store/mem"
	"github.com/millrace/millrace/store/storetest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestConformance(t *testing.T) {
	storetest.Run(t, func(t *testing.T) store.Bucket { return mem.New().Bucket("b") }, &storetest.Options{
		Reopen: func(t *testing.T, b store.Bucket) store.Bucket { return b },
	})
}

func TestPending(t *testing.T) {
	b := mem.New().Bucket("b")
	w, err := b.Create(t.Context(), "k", nil)
	if err != nil {
		t.Fatal(err)
	}
	if got := b.Pending(); got != 1 {
		t.Errorf("Pending() = %d, want 1", got)
	}
	if err := w.Abort(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := b.Pending(); got != 0 {
		t.Errorf("Pending() = %d after Abort, want 0", got)
	}
}

func Example() {
	ctx := context.Background()
	s := mem.New()
	u, _ := store.ParseURI("mem:mail/2026/")
	b, u, err := s.Opener()(ctx, u, nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	b.Put(ctx, "2026/a.eml", []byte("Subject: hello"))
	b.Put(ctx, "2025/b.eml", []byte("Subject: older"))
	for o, err := range b.List(ctx, u.Prefix, "") {
		fmt.Println(o.Key, o.Size, err)
	}
	// Output:
	// 2026/a.eml 14 <nil>
}
