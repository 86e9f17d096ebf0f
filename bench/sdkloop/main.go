// Command sdkloop is what millrace is compared with: it lists a prefix of an S3 bucket with the AWS SDK and gets every
// object, N at a time, as a program would that somebody writes in an hour. It prints the lines that hold TEXT as
// KEY:LINE:TEXT, in no order.
//
//	sdkloop -n N TEXT BUCKET [PREFIX]
package main

import (
	"bufio"
	"bytes"
	"context"
	"flag"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"

	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"golang.org/x/sync/errgroup"
)

func main() {
	n := flag.Int("n", 16, "objects got at once")
	flag.Parse()
	if flag.NArg() < 2 || *n < 1 {
		fmt.Fprintln(os.Stderr, "usage: sdkloop -n N TEXT BUCKET [PREFIX]")
		os.Exit(2)
	}
	if err := run(context.Background(), *n, flag.Arg(0), flag.Arg(1), flag.Arg(2)); err != nil {
		fmt.Fprintln(os.Stderr, "sdkloop:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, n int, text, bucket, prefix string) error {
	cfg, err := config.LoadDefaultConfig(ctx)
	if err != nil {
		return err
	}
	client := s3.NewFromConfig(cfg, func(o *s3.Options) { o.UsePathStyle = true })
	out := &printer{w: bufio.NewWriterSize(os.Stdout, 1<<20)}
	eg, ctx := errgroup.WithContext(ctx)
	eg.SetLimit(n)
	pages := s3.NewListObjectsV2Paginator(client, &s3.ListObjectsV2Input{Bucket: &bucket, Prefix: &prefix})
	for pages.HasMorePages() && ctx.Err() == nil {
		page, err := pages.NextPage(ctx)
		if err != nil {
			_ = eg.Wait()
			return err
		}
		for _, o := range page.Contents {
			eg.Go(func() error { return search(ctx, client, bucket, *o.Key, prefix, text, out) })
		}
	}
	if err := eg.Wait(); err != nil {
		return err
	}
	return out.w.Flush()
}

// search gets one object and prints its lines that hold text.
func search(ctx context.Context, client *s3.Client, bucket, key, prefix, text string, out *printer) error {
	object, err := client.GetObject(ctx, &s3.GetObjectInput{Bucket: &bucket, Key: &key})
	if err != nil {
		return err
	}
	defer object.Body.Close()
	body, err := io.ReadAll(object.Body)
	if err != nil {
		return fmt.Errorf("%s: %w", key, err)
	}
	name := strings.TrimPrefix(key, prefix)
	number := 0
	for line := range bytes.Lines(body) {
		number++
		if bytes.Contains(line, []byte(text)) {
			if err := out.print(name, number, bytes.TrimSuffix(line, []byte("\n"))); err != nil {
				return err
			}
		}
	}
	return nil
}

// A printer prints lines of several goroutines.
type printer struct {
	mu sync.Mutex
	w  *bufio.Writer
}

func (p *printer) print(name string, number int, line []byte) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	_, err := fmt.Fprintf(p.w, "%s:%d:%s\n", name, number, line)
	return err
}
