package swifttest

import (
	"context"
	"strings"
	"testing"
)

// Run starts a Swift that ends with the test. Where this machine cannot run one, and in short mode, the test is skipped instead.
func Run(tb testing.TB, opts *Options) *Cluster {
	tb.Helper()
	if testing.Short() {
		tb.Skip("needs a Swift")
	}
	dir := tb.TempDir()
	if err := Missing(dir); err != nil {
		tb.Skip(err)
	}
	c, err := Start(context.Background(), dir, opts)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		if err := c.Stop(); err != nil {
			tb.Error(err)
		}
	})
	return c
}

// Setenv makes c the Swift of this test's process, and of those that it starts.
func (c *Cluster) Setenv(t *testing.T) {
	t.Helper()
	for _, e := range c.Env() {
		name, value, _ := strings.Cut(e, "=")
		t.Setenv(name, value)
	}
}
