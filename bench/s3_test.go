package bench

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/millrace/millrace/internal/demo"
	"github.com/millrace/millrace/internal/gatewaytest/gateway"
	"github.com/millrace/millrace/internal/mailgen"
	"github.com/millrace/millrace/store"
	"github.com/millrace/millrace/store/s3"
)

// BenchmarkS3 searches the mails in a bucket: millrace beside a plain loop with the AWS SDK that has as many requests in
// flight, S3_REQUESTS of them. The gateway's own work is not measured.
func BenchmarkS3(b *testing.B) {
	p := built(b)
	base, err := dataDir()
	if err != nil {
		b.Fatal(err)
	}
	n := theScale(b).mails
	dir := filepath.Join(base, fmt.Sprintf("s3-%d", n))
	if err := os.MkdirAll(dir, 0o777); err != nil {
		b.Fatal(err)
	}
	g, err := gateway.Start(context.Background(), dir, "mail")
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		if err := g.Stop(); err != nil {
			b.Error(err)
		}
	})
	for _, v := range g.Env() {
		name, value, _ := strings.Cut(v, "=")
		b.Setenv(name, value)
	}
	size := uploaded(b, dir+".json", n)
	requests := fmt.Sprint(environ("S3_REQUESTS", 16*runtime.NumCPU()))
	contest(b, size, true,
		contender{"millrace", command(dir, nil, p.millrace, "grep", "--progress", "none", "-F", "invoice ", "s3://mail/")},
		contender{"sdk-loop", command(dir, nil, p.sdkloop, "-n", requests, "invoice ", "mail")},
	)
}

// uploaded makes sure that the bucket holds the mails, of which the file complete is the record, and returns their size.
func uploaded(tb testing.TB, complete string, n int) (size int64) {
	tb.Helper()
	if text, err := os.ReadFile(complete); err == nil {
		if _, err := fmt.Sscan(string(text), &size); err == nil {
			return size
		}
	}
	ctx := context.Background()
	u, err := store.ParseURI("s3://mail/")
	if err != nil {
		tb.Fatal(err)
	}
	bucket, _, err := s3.Open(ctx, u, nil)
	if err != nil {
		tb.Fatal(err)
	}
	defer bucket.Close()
	truth, err := demo.Upload(ctx, bucket, mailgen.New(1, nil), n, new(atomic.Int64))
	if err == nil {
		err = os.WriteFile(complete, fmt.Append(nil, truth.Bytes), 0o666)
	}
	if err != nil {
		tb.Fatal(err)
	}
	return truth.Bytes
}
