package sandboxtest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/millrace/millrace/sandbox"
)

// A behaviour is one thing that every guest does alike, whatever its engine.
type behaviour struct {
	name   string
	run    sandbox.Run
	stdin  string
	want   string // on stdout
	is     error
	says   string // in the error
	report func(sandbox.Report) error
}

var behaviours = sync.OnceValue(func() []behaviour {
	return []behaviour{
		{name: "name", want: "guest\n"},
		{name: "arguments", run: sandbox.Run{Args: []string{"args", "a b", "", "ü\n"}}, want: `["guest" "args" "a b" "" "ü\n"]` + "\n"},
		{name: "empty environment", run: sandbox.Run{Args: []string{"env"}}, want: "[]\n"},
		{name: "environment", run: sandbox.Run{Args: []string{"env"}, Env: []string{"A=1", "B=x=y"}}, want: `["A=1" "B=x=y"]` + "\n"},
		{name: "copy", run: sandbox.Run{Args: []string{"cat"}}, stdin: "one\x00\xfftwo\n", want: "one\x00\xfftwo\n"},
		{name: "large copy", run: sandbox.Run{Args: []string{"cat"}}, stdin: strings.Repeat("0123456789abcdef", 1<<16), want: strings.Repeat("0123456789abcdef", 1<<16)},
		{name: "no input", run: sandbox.Run{Args: []string{"count"}}, want: "0 <nil>\n"},
		{name: "input not read", run: sandbox.Run{Args: []string{"args"}}, stdin: strings.Repeat("x", 1<<20), want: `["guest" "args"]` + "\n"},
		{name: "input read in part", run: sandbox.Run{Args: []string{"head"}}, stdin: "first\n" + strings.Repeat("x\n", 1<<20), want: "first\n"},
		{name: "exit code", run: sandbox.Run{Args: []string{"exit", "3"}}, is: sandbox.ErrExit, says: "guest exited 3: going to exit 3", report: func(r sandbox.Report) error {
			if r.Exit != 3 || r.Log != "going to exit 3\n" {
				return fmt.Errorf("exit %d, log %q", r.Exit, r.Log)
			}
			return nil
		}},
		{name: "panic", run: sandbox.Run{Args: []string{"panic"}}, is: sandbox.ErrExit, says: "the probe panics"},
		{name: "endless loop", run: sandbox.Run{Args: []string{"loop"}, Limits: sandbox.Limits{Wall: 300 * time.Millisecond}}, is: sandbox.ErrLimit, says: "guest wall clock limit: 300ms"},
		{name: "CPU", run: sandbox.Run{Args: []string{"loop"}, Limits: sandbox.Limits{CPU: 200 * time.Millisecond, Wall: 20 * time.Second}}, is: sandbox.ErrLimit, says: "guest CPU limit: 200ms",
			report: func(r sandbox.Report) error {
				if cpu := r.User + r.System; cpu < 150*time.Millisecond || cpu > Patience {
					return fmt.Errorf("CPU %v", cpu)
				}
				return nil
			}},
		{name: "output", run: sandbox.Run{Args: []string{"out", "100000"}, Limits: sandbox.Limits{Output: 1 << 20, Wall: 10 * time.Second}}, is: sandbox.ErrLimit, says: "guest output limit: more than 1 MiB"},
		{name: "log", run: sandbox.Run{Args: []string{"err", "2"}, Limits: sandbox.Limits{Log: 1000}}, report: func(r sandbox.Report) error {
			if len(r.Log) > 1010 || !strings.HasPrefix(r.Log, "…") || !strings.HasSuffix(r.Log, "x\n") {
				return fmt.Errorf("log of %d bytes", len(r.Log))
			}
			return nil
		}},
		{name: "endless input", run: sandbox.Run{Args: []string{"count"}, Limits: sandbox.Limits{Wall: 300 * time.Millisecond}, Streams: sandbox.Streams{Stdin: Endless}}, is: sandbox.ErrLimit, says: "wall clock"},
		{name: "broken input", run: sandbox.Run{Args: []string{"cat"}, Streams: sandbox.Streams{Stdin: Broken}}, is: ErrStream},
		{name: "nothing left behind", run: sandbox.Run{Args: []string{"state"}}, want: "1 false\n"},
		{name: "nothing left behind again", run: sandbox.Run{Args: []string{"state"}}, want: "1 false\n"},
		{name: "counts", run: sandbox.Run{Args: []string{"cat"}}, stdin: "12345", want: "12345", report: func(r sandbox.Report) error {
			if r.ReadBytes != 5 || r.WriteBytes != 5 || r.Writes == 0 || r.Reads == 0 || r.Wall <= 0 || r.PeakMemory <= 0 {
				return fmt.Errorf("%+v", r)
			}
			return nil
		}},
		{name: "no files of the machine", run: sandbox.Run{Args: []string{"read", "FILE", "CONFIG", "/etc/passwd", "/etc/shadow", "/proc", "/proc/self/environ", "/sys", "/root", "/home", "/var", "/tmp", "/run"}}, want: "done\n"},
		{name: "nowhere to write", run: sandbox.Run{Args: []string{"write", "FILE", "CONFIG", "/x", "/etc/x", "/usr/x", "/usr/bin/x", "/dev/x", "/program/x", "/program/guest", "/tmp/x"}}, want: "done\n"},
	}
})

// TestGuest runs what every guest must do against one that was made from the program that [Probe] returns. One guest serves all, so that
// each run is the next one after another; what is outside stays as it is.
func TestGuest(t *testing.T, g sandbox.Guest) {
	o := NewOutside(t)
	for _, b := range behaviours() {
		t.Run(b.name, func(t *testing.T) {
			o.Begin()
			defer o.Check(t)
			var out bytes.Buffer
			run := b.run
			run.Args = o.words(run.Args)
			if run.Stdin == nil {
				run.Stdin = strings.NewReader(b.stdin)
			}
			run.Stdout = &out
			begin := time.Now()
			report, err := g.Run(context.Background(), &run)
			switch {
			case b.is == nil && err != nil:
				t.Fatalf("error %v", err)
			case b.is != nil && !errors.Is(err, b.is):
				t.Fatalf("error %v; want %v", err, b.is)
			case b.is != nil && !strings.Contains(err.Error(), b.says):
				t.Errorf("error %q; want %q in it", err, b.says)
			case b.is == nil && out.String() != b.want:
				t.Errorf("stdout %.200q; want %.200q", out.String(), b.want)
			}
			if b.report != nil {
				if err := b.report(report); err != nil {
					t.Errorf("report: %v", err)
				}
			}
			checkEnd(t, time.Since(begin), b.run.Limits)
		})
	}
}
