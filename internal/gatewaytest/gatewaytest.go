// Package gatewaytest gives tests a real S3 server: a gateway over a temporary directory.
package gatewaytest

import (
	"context"
	"strings"
	"testing"

	"github.com/millrace/millrace/internal/gatewaytest/gateway"
)

// Start starts a server with the buckets named. It ends with the test. In short mode the test is skipped instead.
func Start(tb testing.TB, buckets ...string) *gateway.Gateway {
	tb.Helper()
	if testing.Short() {
		tb.Skip("needs the S3 gateway")
	}
	g, err := gateway.Start(context.Background(), tb.TempDir(), buckets...)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		if err := g.Stop(); err != nil {
			tb.Error(err)
		}
	})
	return g
}

// Setenv makes g the S3 of this test's process, and of those that it starts.
func Setenv(t *testing.T, g *gateway.Gateway) {
	t.Helper()
	for _, e := range g.Env() {
		name, value, _ := strings.Cut(e, "=")
		t.Setenv(name, value)
	}
}
