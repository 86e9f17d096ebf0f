// Package s3 keeps objects in Amazon S3 and in stores that speak its protocol.
//
// Access is configured as for other AWS tools: environment, shared configuration, container and instance roles;
// AWS_ENDPOINT_URL names another store, which is then addressed by path. A bucket in another region than the configured one is found by itself.
// Where no credentials are found, opening a bucket fails within a few seconds (an instance role is asked for no longer than that).
//
// A pending object is a multipart upload that has not been completed. Its metadata hold a random token, which is also in its
// handle: by it Publish knows its own object again when the answer to a completion was lost.
package s3

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/ratelimit"
	"github.com/aws/aws-sdk-go-v2/aws/retry"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	"github.com/aws/smithy-go/logging"

	"github.com/millrace/millrace/internal/remote"
	"github.com/millrace/millrace/store"
)

const (
	credentialsWait = 3 * time.Second // for the chain of credentials, the last of which asks an address that may not answer
	attempts        = 8               // of one request that is throttled or fails on the way
	maxBackoff      = 20 * time.Second
	defaultRequests = 16
	maxErrorBody    = 64 << 10
)

// A Bucket is one S3 bucket.
type Bucket struct {
	name      string
	api       *s3.Client
	transport *http.Transport
	payer     types.RequestPayer
	aws       bool // Amazon's own: no other endpoint is set
	requests  int  // in flight, for listing
}

// Open is the store.Opener of the scheme s3.
func Open(ctx context.Context, u store.URI, opts *store.Options) (store.Bucket, store.URI, error) {
	b, err := open(ctx, u.Bucket, opts, nil)
	if err != nil {
		return nil, u, err
	}
	return b, u, nil
}

// Static returns a store.Opener that signs with the given key instead of looking for one.
func Static(accessKey, secretKey string) store.Opener {
	cred := aws.CredentialsProviderFunc(func(context.Context) (aws.Credentials, error) {
		return aws.Credentials{AccessKeyID: accessKey, SecretAccessKey: secretKey, Source: "static"}, nil
	})
	return func(ctx context.Context, u store.URI, opts *store.Options) (store.Bucket, store.URI, error) {
		b, err := open(ctx, u.Bucket, opts, cred)
		if err != nil {
			return nil, u, err
		}
		return b, u, nil
	}
}

func open(ctx context.Context, name string, opts *store.Options, cred aws.CredentialsProvider) (*Bucket, error) {
	if opts == nil {
		opts = &store.Options{}
	}
	b := &Bucket{name: name, requests: opts.Requests}
	if b.requests <= 0 {
		b.requests = defaultRequests
	}
	if opts.RequesterPays {
		b.payer = types.RequestPayerRequester
	}
	cfg, err := configure(ctx, opts, cred)
	if err != nil {
		return nil, fmt.Errorf("s3://%s: %w", name, err)
	}
	if client, ok := cfg.HTTPClient.(*awshttp.BuildableClient); ok {
		b.transport = client.GetTransport() // with the certificates that the configuration names
	} else {
		b.transport = http.DefaultTransport.(*http.Transport).Clone()
	}
	remote.Tune(b.transport)

	newClient := func() *s3.Client {
		return s3.NewFromConfig(cfg, func(o *s3.Options) {
			if opts.Endpoint != "" {
				o.BaseEndpoint = aws.String(opts.Endpoint)
			}
			b.aws = o.BaseEndpoint == nil
			o.UsePathStyle = !b.aws
			o.HTTPClient = &client{http.Client{Transport: b.transport, CheckRedirect: stay}}
			o.DisableLogOutputChecksumValidationSkipped = true
		})
	}
	b.api = newClient()
	region, err := b.probe(ctx)
	if err == nil && region != "" && region != cfg.Region {
		cfg.Region = region
		b.api = newClient()
		_, err = b.probe(ctx)
	}
	if err != nil {
		b.transport.CloseIdleConnections()
		return nil, err
	}
	return b, nil
}

// configure gathers the AWS configuration and makes sure that there are credentials.
func configure(ctx context.Context, opts *store.Options, cred aws.CredentialsProvider) (aws.Config, error) {
	load := []func(*config.LoadOptions) error{
		config.WithHTTPClient(awshttp.NewBuildableClient()),
		config.WithLogger(logging.Nop{}),
		config.WithRetryer(newRetryer),
		// Bodies are counted here, and their content is checked where it is read; parts are signed with their hash.
		config.WithRequestChecksumCalculation(aws.RequestChecksumCalculationWhenRequired),
		config.WithResponseChecksumValidation(aws.ResponseChecksumValidationWhenRequired),
		config.WithDefaultRegion("us-east-1"),
	}
	if opts.Region != "" {
		load = append(load, config.WithRegion(opts.Region))
	}
	switch {
	case opts.NoSignRequest:
		load = append(load, config.WithCredentialsProvider(aws.AnonymousCredentials{}))
	case cred != nil:
		load = append(load, config.WithCredentialsProvider(cred))
	}
	cfg, err := config.LoadDefaultConfig(ctx, load...)
	if err != nil {
		return cfg, fmt.Errorf("AWS configuration: %s", oneLine(err.Error()))
	}
	if opts.NoSignRequest {
		return cfg, nil
	}
	wait, cancel := context.WithTimeout(ctx, credentialsWait)
	defer cancel()
	if _, err := cfg.Credentials.Retrieve(wait); err != nil {
		if ctx.Err() != nil {
			return cfg, context.Cause(ctx)
		}
		return cfg, fmt.Errorf("%w: no AWS credentials in the environment, the shared configuration or a role", store.ErrPermission)
	}
	return cfg, nil
}

// newRetryer makes throttled and failed requests wait, longer each time and by chance, without the quota by which
// the SDK would give up early when many requests are throttled at once.
func newRetryer() aws.Retryer {
	return retry.NewStandard(func(o *retry.StandardOptions) {
		o.MaxAttempts = attempts
		o.MaxBackoff = maxBackoff
		o.RateLimiter = ratelimit.None
	})
}

// stay keeps requests, which are signed for one host, from following redirects to another.
func stay(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }

// probe asks whether the bucket is there. It returns the region that the store says the bucket is in, or "". That it may not
// be listed is no error here: its objects may be readable.
func (b *Bucket) probe(ctx context.Context) (region string, err error) {
	// Nobody waits long for a store that may not be there at all.
	_, err = b.api.HeadBucket(ctx, &s3.HeadBucketInput{Bucket: &b.name}, func(o *s3.Options) { o.RetryMaxAttempts = 3 })
	if err == nil {
		return "", nil
	}
	var re *awshttp.ResponseError
	if errors.As(err, &re) && re.Response != nil {
		region = re.Response.Header.Get("X-Amz-Bucket-Region")
		switch code := re.HTTPStatusCode(); {
		case code == http.StatusForbidden,
			region != "" && (code == http.StatusMovedPermanently || code == http.StatusBadRequest || code == http.StatusTemporaryRedirect):
			return region, nil
		}
	}
	return "", b.explain(ctx, "", err)
}

// Close closes the idle connections.
func (b *Bucket) Close() error {
	b.transport.CloseIdleConnections()
	return nil
}
