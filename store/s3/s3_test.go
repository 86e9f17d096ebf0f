package s3_test

import (
	"context"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"unicode"
	"unicode/utf8"

	"go.uber.org/goleak"

	"github.com/millrace/millrace/internal/gatewaytest"
	"github.com/millrace/millrace/store"
	"github.com/millrace/millrace/store/s3"
	"github.com/millrace/millrace/store/storetest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestConformance(t *testing.T) {
	g := gatewaytest.Start(t)
	open := s3.Static(g.AccessKey, g.SecretKey)
	names := map[store.Bucket]string{}
	openBucket := func(t *testing.T, name string) store.Bucket {
		b, _, err := open(context.Background(), store.URI{Scheme: "s3", Bucket: name}, g.Options())
		if err != nil {
			t.Fatal(err)
		}
		names[b] = name
		return b
	}
	var n atomic.Int64
	storetest.Run(t, func(t *testing.T) store.Bucket {
		name := fmt.Sprintf("bucket-%d", n.Add(1))
		if err := g.MakeBucket(name); err != nil {
			t.Fatal(err)
		}
		return openBucket(t, name)
	}, &storetest.Options{
		Collides: true,
		Refuses:  refuses,
		Reopen:   func(t *testing.T, b store.Bucket) store.Bucket { return openBucket(t, names[b]) },
	})
}

// refuses tells the keys that the gateway, whose objects are files and which lists without an encoding, does not keep.
func refuses(key store.Key) bool {
	for seg := range strings.SplitSeq(string(key), "/") {
		if seg == "" || seg == "." || seg == ".." || len(seg) > 255 {
			return true
		}
	}
	return !utf8.ValidString(string(key)) || strings.ContainsFunc(string(key), unicode.IsControl)
}
