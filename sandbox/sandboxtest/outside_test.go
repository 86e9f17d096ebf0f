package sandboxtest

import (
	"net"
	"os"
	"strings"
	"syscall"
	"testing"
)

// TestOutside checks that what must not happen would be noticed.
func TestOutside(t *testing.T) {
	dial := func(network, address string) func(*Outside) error {
		return func(o *Outside) error {
			c, err := net.Dial(network, o.Words(address))
			if err != nil {
				return err
			}
			_, _ = c.Read(make([]byte, 1)) // until it was accepted and closed
			return c.Close()
		}
	}
	for _, tt := range []struct {
		name string
		do   func(*Outside) error
		want string
	}{
		{"nothing", func(*Outside) error { return nil }, ""},
		{"write", func(o *Outside) error { return os.WriteFile(o.File, []byte("x"), 0) }, "canary"},
		{"create", func(o *Outside) error { return os.WriteFile(o.File+"2", nil, 0o600) }, "canaries"},
		{"remove", func(o *Outside) error { return os.Remove(o.Config) }, "canaries"},
		{"tcp", dial("tcp", "127.0.0.1:PORT"), "connections"},
		{"unix", dial("unix", "SOCKET"), "connections"},
		{"abstract", dial("unix", "NAME"), "connections"},
		{"kill", func(o *Outside) error { err := syscall.Kill(o.Pid, syscall.SIGKILL); <-o.ended; return err }, "process"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			o := NewOutside(t)
			o.Begin()
			if err := tt.do(o); err != nil {
				t.Fatal(err)
			}
			err := o.changes()
			if (err == nil) != (tt.want == "") || err != nil && !strings.Contains(err.Error(), tt.want) {
				t.Errorf("noticed %v; want %q", err, tt.want)
			}
			if tt.name == "nothing" {
				o.Check(t)
			}
		})
	}
	if before := status(t, "VmHWM"); before <= 0 {
		t.Errorf("peak memory %d", before)
	}
}
