// Package asuser runs tests once more as a user without any privilege.
package asuser

import (
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
)

// Nobody is the user and group of such runs. It owns nothing.
const Nobody = 65534

// Run runs the tests of this binary with these names and flags as [Nobody], as t. Run by somebody else than root, it skips: all tests are
// such tests then. The tests find themselves in the root directory.
func Run(t *testing.T, tests []string, flags ...string) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("all tests are this test already")
	}
	args := []string{"-test.v", "-test.run=^(" + strings.Join(tests, "|") + ")$"}
	if testing.Short() {
		args = append(args, "-test.short")
	}
	args = append(args, flags...)
	cmd := exec.CommandContext(t.Context(), "/proc/self/exe", args...)
	cmd.Dir = "/"
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: Nobody, Gid: Nobody}}
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Errorf("%v\n%s", err, out)
	}
	for _, test := range tests {
		if !strings.Contains(string(out), "--- PASS: "+test+" ") {
			t.Errorf("%s did not run to its end as an ordinary user:\n%s", test, out)
		}
	}
}
