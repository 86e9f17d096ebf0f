package main

import (
	"time"

	"github.com/millrace/millrace/job"
)

// inputFlags choose objects below the input URIs.
type inputFlags struct {
	Include       []string `group:"input" sep:"none" placeholder:"GLOB" help:"Only objects whose key below its URI matches; may be repeated."`
	Exclude       []string `group:"input" sep:"none" placeholder:"GLOB" help:"No objects whose key below its URI matches; may be repeated."`
	ModifiedSince moment   `group:"input" placeholder:"TIME" help:"Only objects modified since: 2026-01-31, a time of RFC 3339, or how long ago (7d, 36h)."`
}

// outputFlags say where results go and what may stand in the way.
type outputFlags struct {
	Overwrite   bool          `group:"output" help:"Replace what an earlier job left at the output."`
	Limit       int64         `group:"output" placeholder:"N" help:"Stop after N printed lines."`
	RawOutput   bool          `group:"output" help:"Print control characters to a terminal as they are."`
	Progress    string        `group:"output" enum:"auto,plain,json,none" default:"auto" help:"How progress is shown on stderr: ${enum}."`
	Tolerate    job.Tolerance `group:"output" placeholder:"N|P%|all" help:"Objects that may fail while the rest is kept (default 1%)."`
	Work        string        `group:"output" placeholder:"URI" help:"Where the plan lies while a job without output runs; a temporary directory unless given."`
	MaxRequests uint32        `group:"output" default:"1000000" placeholder:"N" help:"Ask before a job of more requests to a store (default ${default}; 0: never ask)."`
}

// limitFlags bound the work on one object.
type limitFlags struct {
	LimitMemory     size          `group:"limits" placeholder:"SIZE" help:"Memory (default 256MiB)."`
	LimitWall       time.Duration `group:"limits" placeholder:"TIME" help:"Time (default 60s)."`
	LimitCPU        time.Duration `group:"limits" name:"limit-cpu" placeholder:"TIME" help:"CPU time (default 60s)."`
	LimitOutput     size          `group:"limits" placeholder:"SIZE" help:"Bytes of output (default 256MiB)."`
	InsecureSandbox []string      `group:"limits" placeholder:"LAYER" help:"Do without a layer of the sandbox: userns, seccomp, landlock, cgroup or uid; may be repeated."`
}

// storeFlags say how stores are reached.
type storeFlags struct {
	Endpoint      string `group:"store" placeholder:"URL" help:"Address of the S3 service, in place of AWS_ENDPOINT_URL."`
	Region        string `group:"store" placeholder:"NAME" help:"Region, in place of AWS_REGION."`
	NoSignRequest bool   `group:"store" help:"Send S3 requests without credentials."`
	RequesterPays bool   `group:"store" help:"Pay for the requests to other people's buckets."`
}

func (f *inputFlags) apply(spec *job.Spec) {
	spec.Include = append(spec.Include, f.Include...)
	spec.Exclude = append(spec.Exclude, f.Exclude...)
	if !f.ModifiedSince.IsZero() {
		spec.ModifiedSince = f.ModifiedSince.Time
	}
}

func (f *outputFlags) apply(spec *job.Spec) {
	spec.Overwrite = spec.Overwrite || f.Overwrite
	override(&spec.Limit, f.Limit)
	override(&spec.Tolerate, f.Tolerate)
	override(&spec.Work, f.Work)
}

func (f *limitFlags) apply(spec *job.Spec) {
	override(&spec.Limits.Memory, int64(f.LimitMemory))
	override(&spec.Limits.Wall, f.LimitWall)
	override(&spec.Limits.CPU, f.LimitCPU)
	override(&spec.Limits.Output, int64(f.LimitOutput))
	spec.Insecure = append(spec.Insecure, f.InsecureSandbox...)
}

func (f *storeFlags) apply(s *job.Store) {
	override(&s.Endpoint, f.Endpoint)
	override(&s.Region, f.Region)
	s.NoSignRequest = s.NoSignRequest || f.NoSignRequest
	s.RequesterPays = s.RequesterPays || f.RequesterPays
}

// override sets *dst to v unless v says nothing.
func override[T comparable](dst *T, v T) {
	var zero T
	if v != zero {
		*dst = v
	}
}
