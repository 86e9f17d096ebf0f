package agent

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"maps"
	"slices"

	"github.com/millrace/millrace/job"
)

// seed returns that of a job's guests. It is decided by what the user says to the program and nothing else: not by the job's id, by time or place,
// nor by how the work is cut up.
func seed(p *job.Program, params map[string]string) uint64 {
	h := sha256.New()
	fmt.Fprintf(h, "millrace seed 1\n%s\n%q\n", p.Digest, p.Args)
	for _, name := range slices.Sorted(maps.Keys(params)) {
		fmt.Fprintf(h, "%q %q\n", name, params[name])
	}
	return binary.LittleEndian.Uint64(h.Sum(nil))
}
