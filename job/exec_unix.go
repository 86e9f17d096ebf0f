//go:build unix

package job

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
)

// execMillrace replaces the process by "millrace run SELF ARGS…". It returns only an error.
func execMillrace() error {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	millrace, err := findMillrace(self)
	if err != nil {
		return err
	}
	err = syscall.Exec(millrace, append([]string{"millrace", "run", self}, os.Args[1:]...), os.Environ())
	return &os.PathError{Op: "exec", Path: millrace, Err: err}
}

// findMillrace looks for millrace beside self, then in PATH. It does not find self.
func findMillrace(self string) (string, error) {
	me, err := os.Stat(self)
	if err != nil {
		return "", err
	}
	beside := filepath.Join(filepath.Dir(self), "millrace")
	for _, name := range []string{beside, "millrace"} {
		path, err := exec.LookPath(name)
		if err != nil {
			continue
		}
		if fi, err := os.Stat(path); err == nil && !os.SameFile(me, fi) {
			return path, nil
		}
	}
	return "", errors.New("millrace is needed to run " + filepath.Base(self) + ", but is neither beside it nor in PATH")
}
