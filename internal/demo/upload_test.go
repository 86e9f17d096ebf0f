package demo

import (
	"context"
	"io"
	"sync/atomic"
	"testing"

	"github.com/millrace/millrace/internal/mailgen"
	"github.com/millrace/millrace/store"
	"github.com/millrace/millrace/store/mem"
)

func TestUpload(t *testing.T) {
	ctx := context.Background()
	b := mem.New().Bucket("mail")
	gen := mailgen.New(7, nil)
	var done atomic.Int64
	truth, err := Upload(ctx, b, gen, 100, &done)
	if err != nil {
		t.Fatal(err)
	}
	if truth.Mails != 100 || done.Load() != 100 {
		t.Errorf("got %d mails, %d done, want 100", truth.Mails, done.Load())
	}
	var size int64
	for o, err := range b.List(ctx, "", "") {
		if err != nil {
			t.Fatal(err)
		}
		size += o.Size
	}
	if size != truth.Bytes {
		t.Errorf("got %d bytes in the bucket, want %d", size, truth.Bytes)
	}
	key, want := gen.Mail(41)
	r, err := b.Open(ctx, store.Key(key), "", 0, -1)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if got, err := io.ReadAll(r); err != nil || string(got) != string(want) {
		t.Errorf("mail 41: got %d bytes, %v, want %d", len(got), err, len(want))
	}
}
