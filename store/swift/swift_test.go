package swift

import (
	"context"
	"fmt"
	"sync/atomic"
	"testing"

	"go.uber.org/goleak"

	"github.com/millrace/millrace/internal/swifttest"
	"github.com/millrace/millrace/store"
	"github.com/millrace/millrace/store/storetest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// TestSwift holds what is tested against a real Swift, which is started once.
func TestSwift(t *testing.T) {
	c := swifttest.Run(t, &swifttest.Options{Policies: []swifttest.Policy{{Index: 3, Name: "spread", Replicas: 3, Elsewhere: 40}}})
	s := &cluster{c: c}
	t.Run("locator", s.locator)
	t.Run("replicas", s.replicas)
	t.Run("large objects", s.largeObjects)
	t.Run("copies", s.copies)
	t.Run("replaced", s.replaced)
	t.Run("other people's large objects", s.foreign)
	t.Run("conformance", s.conformance)
}

// A cluster is the Swift under test.
type cluster struct {
	c *swifttest.Cluster
	n atomic.Int64
}

// container makes an empty container and returns its name.
func (s *cluster) container(t *testing.T) string {
	t.Helper()
	name := fmt.Sprintf("c%d", s.n.Add(1))
	if err := s.c.MakeContainer(t.Context(), name, ""); err != nil {
		t.Fatal(err)
	}
	return name
}

// open opens a container, with segments of 4 MiB so that objects of moderate size are large ones.
func (s *cluster) open(t *testing.T, name string) *Bucket {
	t.Helper()
	b, err := open(context.Background(), name, nil, v1(s.c.AuthURL, s.c.User, s.c.Key))
	if err != nil {
		t.Fatal(err)
	}
	b.segmentSize = 4 << 20
	return b
}

func (s *cluster) conformance(t *testing.T) {
	storetest.Run(t, func(t *testing.T) store.Bucket {
		return s.open(t, s.container(t))
	}, &storetest.Options{
		Keys:   60,
		Reopen: func(t *testing.T, b store.Bucket) store.Bucket { return s.open(t, b.(*Bucket).name) },
	})
}
