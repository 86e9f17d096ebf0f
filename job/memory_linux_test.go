package job_test

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/millrace/millrace/internal/guest"
)

// A guest maps objects that lie in the memory behind its descriptor.
func TestGuestSharesMemory(t *testing.T) {
	path := filepath.Join(t.TempDir(), "memory")
	if err := os.WriteFile(path, []byte("....a b a"), 0o600); err != nil {
		t.Fatal(err)
	}
	stdin, err := guest.AppendMemory(nil, &guest.Meta{Key: "a", Size: 5}, 4, 5)
	if err != nil {
		t.Fatal(err)
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct{ size, log string }{
		{"9", ""},
		{"8", "guest protocol: place outside of the shared memory\n"},
		{"", "guest protocol: place outside of the shared memory\n"},
		{"nine", "malformed MILLRACE_MEMORY\n"},
		{"0", "map the runner's memory: invalid argument\n"},
	} {
		f, err := os.Open(path)
		if err != nil {
			t.Fatal(err)
		}
		var stdout, stderr bytes.Buffer
		cmd := exec.Command(self)
		cmd.Env = append(guest.Env(guest.Map), "JOB_TEST_GUEST=words", "GOCOVERDIR="+t.TempDir(), guest.EnvMemory+"="+tt.size)
		cmd.ExtraFiles = []*os.File{f} // the guest's descriptor 3
		cmd.Stdin, cmd.Stdout, cmd.Stderr = bytes.NewReader(stdin), &stdout, &stderr
		err = cmd.Run()
		f.Close()
		if tt.log != "" {
			if err == nil || stderr.String() != tt.log {
				t.Errorf("%q bytes: got %v and log %q, want %q", tt.size, err, stderr.String(), tt.log)
			}
			continue
		}
		var a answers
		r := guest.NewReplies(&a, 1, guest.Bounds{})
		if _, err := r.Write(stdout.Bytes()); err != nil {
			t.Fatal(err)
		}
		if err := r.Close(); err != nil || strings.Join(a.ends, ",") != "OK" || len(a.records) != 3 {
			t.Errorf("got %v, %q, %d records", err, a.ends, len(a.records))
		}
	}
}
