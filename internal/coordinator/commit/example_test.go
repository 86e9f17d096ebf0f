package commit_test

import (
	"context"
	"fmt"
	"io"

	"github.com/millrace/millrace/internal/coordinator/commit"
	"github.com/millrace/millrace/job"
	"github.com/millrace/millrace/store/mem"
)

func Example() {
	ctx := context.Background()
	bucket := mem.New().Bucket("b")

	claim, err := commit.Take(ctx, bucket, "out/", "4f1c", &commit.Options{Name: "mem:b/out/"})
	if err != nil {
		panic(err)
	}

	uploads := claim.Uploads()
	w, err := bucket.Create(ctx, uploads.Key("part-00000"), nil)
	if err != nil {
		panic(err)
	}
	if err := uploads.Record(ctx, "r-00000.1", w.Handle()); err != nil {
		panic(err)
	}
	io.WriteString(w, "hello\t1\n")
	p, err := w.Seal(ctx)
	if err != nil {
		panic(err)
	}

	d := &commit.Decision{
		Parts:    []commit.Part{{Pending: p, Records: 1}},
		Manifest: job.Manifest{Format: job.Text},
	}
	if err := claim.Decide(ctx, d); err != nil {
		panic(err)
	}
	m, err := claim.Finish(ctx)
	if err != nil {
		panic(err)
	}
	if err := claim.Release(ctx); err != nil {
		panic(err)
	}
	fmt.Println(m.Job, m.Parts[0].Key, m.Parts[0].Size)

	_, err = commit.Take(ctx, bucket, "out/", "77aa", &commit.Options{Name: "mem:b/out/"})
	fmt.Println(err)
	// Output:
	// 4f1c part-00000 8
	// output mem:b/out/: exists already
}
