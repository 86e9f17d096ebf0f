package main

import (
	"context"
	"os"

	"github.com/millrace/millrace/internal/coordinator/plan"
	"github.com/millrace/millrace/store"
	"github.com/millrace/millrace/store/file"
	"github.com/millrace/millrace/store/s3"
	"github.com/millrace/millrace/store/swift"
)

// schemes returns the stores that millrace can use.
func schemes() store.Schemes {
	return store.Schemes{"file": file.Open, "s3": s3.Open, "swift": swift.Open}
}

// locate returns who knows on which nodes the objects of a bucket lie, or nil.
func locate(ctx context.Context, b store.Bucket) (plan.Locator, error) {
	rings := os.Getenv("MILLRACE_SWIFT_RINGS")
	s, ok := b.(*swift.Bucket)
	if !ok || rings == "" {
		return nil, nil
	}
	l, err := s.Locator(ctx, rings)
	if err != nil {
		return nil, err
	}
	return l, nil
}
