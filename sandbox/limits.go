package sandbox

import (
	"fmt"
	"strings"
	"time"
)

// Defaults of [Limits].
const (
	defaultMemory = 256 << 20
	defaultWall   = 60 * time.Second
	defaultCPU    = 60 * time.Second
	defaultOutput = 256 << 20
	defaultLog    = 64 << 10
	defaultLines  = 1000
)

func (l Limits) withDefaults() Limits {
	if l.Memory <= 0 {
		l.Memory = defaultMemory
	}
	if l.Wall <= 0 {
		l.Wall = defaultWall
	}
	if l.CPU <= 0 {
		l.CPU = defaultCPU
	}
	if l.Output <= 0 {
		l.Output = defaultOutput
	}
	if l.Log <= 0 {
		l.Log = defaultLog
	}
	if l.LogLines <= 0 {
		l.LogLines = defaultLines
	}
	return l
}

// byteText writes n for people: 80 MiB, 1.5 GiB, 300 B.
func byteText(n int64) string {
	units := []string{"B", "KiB", "MiB", "GiB", "TiB", "PiB"}
	f, u := float64(n), 0
	for f >= 1024 && u < len(units)-1 {
		f, u = f/1024, u+1
	}
	return strings.TrimSuffix(fmt.Sprintf("%.1f", f), ".0") + " " + units[u]
}

// firstLine returns the first line of s, bounded.
func firstLine(s string) string {
	s, _, _ = strings.Cut(s, "\n")
	if len(s) > 300 {
		s = s[:300] + "…"
	}
	return s
}

// excerpt returns what an error tells of a log: all of a short one, else its beginning and its end. What Go prints of its own stacks when its
// runtime gives up, as it does without memory, says nothing of the guest.
func excerpt(log string) string {
	const half = 512
	log, _, _ = strings.Cut(log, "\nruntime stack:\n")
	log = strings.TrimSpace(log)
	if len(log) > 2*half {
		log = log[:half] + "…" + log[len(log)-half:]
	}
	return strings.ToValidUTF8(log, "")
}
