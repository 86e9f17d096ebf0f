// Package millrace holds the picture of Millrace: which packages there are and which may import which. There is no
// code here; TestPicture keeps it true.
//
// Each line imports only lines below it; packages of one line do not import each other. A name stands for the package
// and for what lies below it, unless another line names that. Tests may import more.
//
//	cmd/millrace   bench/demo   bench/sdkloop   bench/plainwords   bench   internal/chaos   job/jobtest
//	internal/local   internal/clustertest   internal/demo   placement/sim
//	internal/agent   internal/server
//	internal/coordinator/brief
//	internal/cluster   internal/runner
//	internal/coordinator/plan   internal/coordinator/commit   job/jobfile
//	internal/coordinator
//	mapper/builtin
//	shuffle/flight
//	placement   shuffle   sandbox   internal/format
//	examples
//	job
//	mapper   reducer
//	internal/pattern   internal/inflate   internal/hostfn
//	internal/locate   internal/home
//	internal/codecache   internal/crashfs   internal/gatewaytest   internal/swifttest   internal/latency   internal/mailgen   internal/netlab   internal/telemetry   internal/tempdir   internal/guest   internal/identity   store/s3   store/swift   store/file   store/mem   store/storetest
//	internal/remote   internal/built
//	store
//
// What users copy imports only what users can:
//
//	examples                                 job mapper reducer
//
// One third-party library is imported by one package, and its types stop there; sdkloop measures without Millrace:
//
//	github.com/alecthomas/kong               cmd/millrace
//	github.com/apache/arrow                  shuffle/flight internal/format
//	github.com/aws/aws-sdk-go-v2             store/s3 bench/sdkloop
//	github.com/jotaen/kong-completion        cmd/millrace
//	github.com/nats-io                       internal/cluster
//	github.com/ncw/swift                     store/swift
//	github.com/pierrec/lz4                   shuffle
//	github.com/prometheus                    internal/telemetry
//	github.com/schollz/progressbar           cmd/millrace
//	github.com/tetratelabs/wazero            sandbox
//	go.opentelemetry.io                      internal/telemetry
//	go.yaml.in/yaml                          job/jobfile
//	google.golang.org/grpc                   shuffle/flight
package millrace
