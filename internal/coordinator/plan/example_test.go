package plan_test

import (
	"context"
	"fmt"
	"iter"
	"os"

	"github.com/millrace/millrace/internal/coordinator/plan"
	"github.com/millrace/millrace/job"
	"github.com/millrace/millrace/store"
)

// mail is a bucket of three messages.
type mail struct{ store.Bucket }

func (mail) List(context.Context, store.Key, store.Key) iter.Seq2[store.Object, error] {
	return func(yield func(store.Object, error) bool) {
		for i, key := range []store.Key{"2026/a.eml", "2026/b.eml", "2026/c.txt"} {
			if !yield(store.Object{Key: key, Size: int64(i + 1), ETag: "v1"}, nil) {
				return
			}
		}
	}
}

func Example() {
	ctx := context.Background()
	dir, err := os.MkdirTemp("", "plan")
	if err != nil {
		panic(err)
	}
	defer os.RemoveAll(dir)
	area := plan.NewDirArea(dir)
	defer area.Close()

	u, err := store.ParseURI("s3://mail/2026/*.eml")
	if err != nil {
		panic(err)
	}
	sum, err := plan.Build(ctx, []plan.Input{{URI: u, Bucket: mail{}}}, area, nil, func(s job.Split) error {
		objects, err := plan.Open(area).Split(ctx, s)
		for _, o := range objects {
			fmt.Println(s.Task, o.Key, o.Size, o.ETag)
		}
		return err
	})
	if err != nil {
		panic(err)
	}
	fmt.Println(sum.Objects, "objects in", sum.Splits, "split")
	// Output:
	// m-00000 2026/a.eml 1 v1
	// m-00000 2026/b.eml 2 v1
	// 2 objects in 1 split
}
