package brief

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/millrace/millrace/job"
	"github.com/millrace/millrace/shuffle/flight"
)

// maxProgram bounds the file of a program.
const maxProgram = 4 << 30

// Receive writes the program of a digest to path, all of it or nothing. It is verified on its way.
func Receive(path, digest string, from io.Reader) (err error) {
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return err
	}
	f, err := os.CreateTemp(filepath.Dir(path), ".program-")
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, os.Remove(f.Name()))
		}
	}()
	h := sha256.New()
	n, err := io.Copy(io.MultiWriter(f, h), io.LimitReader(from, maxProgram+1))
	if err = errors.Join(err, f.Close()); err != nil {
		return fmt.Errorf("program %s: %w", digest, err)
	}
	if sum := hex.EncodeToString(h.Sum(nil)); sum != digest || n > maxProgram {
		return fmt.Errorf("program %s: what came has the digest %s", digest, sum)
	}
	if err := os.Chmod(f.Name(), 0o500); err != nil {
		return err
	}
	return os.Rename(f.Name(), path)
}

// IsDigest reports whether s is a SHA-256 in lower case hexadecimal.
func IsDigest(s string) bool {
	return len(s) == 2*sha256.Size && strings.Trim(s, "0123456789abcdef") == ""
}

// Files returns the programs of a job that are files, those with a digest.
func Files(s *job.Spec) (files []job.Program) {
	all := []job.Program{s.Program}
	for _, g := range s.Groups {
		all = append(all, g.Program)
	}
	for _, p := range all {
		if p.Engine != job.Builtin && p.Digest != "" {
			files = append(files, p)
		}
	}
	return files
}

// ProgramStamp, BlocksStamp and TextStamp are those of what a coordinator sends by netpipe for a job: its programs, blocks of its plan, and to whoever has
// submitted it what it prints. Origin is the incarnation of the coordinator.
func ProgramStamp(jobID string, origin, epoch uint64) flight.Stamp {
	return flight.Stamp{Job: jobID, Task: "program", Incarnation: origin, Epoch: epoch}
}

// BlocksStamp is that of a plan.
func BlocksStamp(jobID string, origin, epoch uint64) flight.Stamp {
	return flight.Stamp{Job: jobID, Task: "plan", Incarnation: origin, Epoch: epoch}
}

// TextStamp is that of printed text.
func TextStamp(jobID string, origin, epoch uint64) flight.Stamp {
	return flight.Stamp{Job: jobID, Task: "text", Incarnation: origin, Epoch: epoch}
}
