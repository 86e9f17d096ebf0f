package main

import (
	"testing"

	"github.com/millrace/millrace/job"
)

func TestNearness(t *testing.T) {
	for _, tt := range []struct {
		input string
		in    job.Reading
		want  string
	}{
		{"file:///srv/mail", job.Reading{Local: 5, LocalBytes: 50}, ""},
		{"s3://mail/", job.Reading{Remote: 5, RemoteBytes: 50}, ""},
		{"swift://mail/", job.Reading{Local: 1, LocalBytes: 2000, Remote: 4990, RemoteBytes: 50},
			"1 object (2.0 KiB) read from disks of their nodes, 4,990 (50 bytes) over the network"},
		{"swift://mail/", job.Reading{Remote: 5, RemoteBytes: 50, Placed: 1},
			"0 of 1 map task done on a node that has their objects"},
		{"swift://mail/", job.Reading{Local: 5, LocalBytes: 50, Placed: 3, Near: 2},
			"5 objects (50 bytes) read from disks of their nodes, 0 (0 bytes) over the network; 2 of 3 map tasks done on a node that has their objects"},
	} {
		if got := nearness(&job.Result{Manifest: job.Manifest{Inputs: []string{tt.input}, Counters: job.Counters{Input: tt.in}}}); got != tt.want {
			t.Errorf("%s, %+v:\ngot  %s\nwant %s", tt.input, tt.in, got, tt.want)
		}
	}
}
