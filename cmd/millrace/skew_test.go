package main

import (
	"strings"
	"testing"

	"github.com/millrace/millrace/job"
)

func TestSkew(t *testing.T) {
	for _, tt := range []struct {
		parts []job.Partition
		want  string
	}{
		{nil, ""},
		{[]job.Partition{{Records: 1e9}}, ""},
		{[]job.Partition{{}, {}, {}}, ""},
		{[]job.Partition{{Records: 9000}, {}, {}}, ""}, // few
		{[]job.Partition{{Records: 40_000}, {Records: 10_000}, {Records: 10_000}}, ""},
		{[]job.Partition{{Records: 10_000}, {Records: 10_000}, {Records: 60_000}}, "partition 2 of 3 got 75% of the records, 2.2 times its share"},
		{[]job.Partition{{Records: 90_000, HotRecords: 81_000, HotKey: "a\x1bb"}, {Records: 10_000}, {}},
			`partition 0 of 3 got 90% of the records, 2.7 times its share: 90% of its records have the key "a\x1bb"`},
	} {
		if got := skew(tt.parts); got != tt.want {
			t.Errorf("%+v: got %q, want %q", tt.parts, got, tt.want)
		}
	}
}

// The user is told which key is too much for a partition.
func TestSkewIsTold(t *testing.T) {
	in := t.TempDir()
	place(t, in, "lines", strings.Repeat("the\n", 20_000)+strings.Repeat("mill\nrace\nwheel\nwater\n", 100))
	code, _, stderr := ended(t, "run", "builtin:fields", "-i", in, "--reducer", "identity", "-r", "4", "-o", t.TempDir()+"/out")
	if code != 0 || !strings.Contains(stderr, "partition 3 of 4 got ") || !strings.Contains(stderr, `% of its records have the key "the"`) {
		t.Errorf("exit code %d: %s", code, stderr)
	}
}
