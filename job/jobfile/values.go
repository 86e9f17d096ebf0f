package jobfile

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/millrace/millrace/job"
)

var units = map[string]int64{
	"": 1, "B": 1,
	"KB": 1e3, "MB": 1e6, "GB": 1e9, "TB": 1e12,
	"KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30, "TiB": 1 << 40,
}

// ParseSize reads a number of bytes: 4096, 64MiB, 2GB. Units are B, KB, MB, GB, TB (thousands) and KiB, MiB, GiB, TiB.
func ParseSize(s string) (int64, error) {
	digits := strings.TrimRight(s, "BKMGTi")
	unit, ok := units[s[len(digits):]]
	n, err := strconv.ParseInt(digits, 10, 64)
	if !ok || err != nil || strconv.FormatInt(n, 10) != digits || n < 0 || n > math.MaxInt64/unit {
		return 0, fmt.Errorf("%q is not a size like 64MiB or 2GB", s)
	}
	return n * unit, nil
}

// ParseTime reads a time as RFC 3339 has it, or a date, which means its beginning in UTC. The year is from 1970 to 9999.
func ParseTime(s string) (time.Time, error) {
	t, err := time.Parse(time.RFC3339, s)
	if err != nil {
		t, err = time.Parse(time.DateOnly, s)
	}
	if err != nil || t.Year() < 1970 {
		return time.Time{}, fmt.Errorf("%q is neither a date like 2026-01-31 nor a time like 2026-01-31T08:00:00Z", s)
	}
	return t, nil
}

// A Tolerance is a job.Tolerance that was understood: how many objects may fail in a job that still commits.
type Tolerance struct {
	all     bool
	count   int64 // if share is 0
	percent float64
	share   bool
}

// ParseTolerance reads "0", "20", "1%", "0.5%", "all"; "" is 1 %.
func ParseTolerance(t job.Tolerance) (Tolerance, error) {
	s := string(t)
	bad := fmt.Errorf("%q is neither a number of objects, a percentage nor all", s)
	switch digits, share := strings.CutSuffix(s, "%"); {
	case s == "":
		return Tolerance{share: true, percent: 1}, nil
	case s == "all":
		return Tolerance{all: true}, nil
	case strings.Trim(digits, "0123456789.") != "":
		return Tolerance{}, bad
	case share:
		p, err := strconv.ParseFloat(digits, 64)
		if err != nil || p > 100 {
			return Tolerance{}, bad
		}
		return Tolerance{share: true, percent: p}, nil
	default:
		n, err := strconv.ParseInt(digits, 10, 64)
		if err != nil {
			return Tolerance{}, bad
		}
		return Tolerance{count: n}, nil
	}
}

// Allows reports whether a job commits if failed of its total objects could not be mapped.
func (t Tolerance) Allows(failed, total int64) bool {
	switch {
	case failed == 0 || t.all:
		return true
	case t.share:
		return float64(failed)*100 <= t.percent*float64(total)
	}
	return failed <= t.count
}

// nearest returns the one of names that s most likely meant, "" if none is near.
func nearest(s string, names []string) string {
	best, name := 3, ""
	for _, n := range names {
		if strings.EqualFold(s, n) {
			return n
		}
		if d := distance(s, n); d < best && d < len(n) {
			best, name = d, n
		}
	}
	return name
}

// distance is the number of bytes to insert, delete or replace to make b of a; at least 3 if their lengths say so.
func distance(a, b string) int {
	if len(a) > len(b)+2 || len(b) > len(a)+2 {
		return 3
	}
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := diagonal
			if a[i] != b[j] {
				cost++
			}
			diagonal = row[j+1]
			row[j+1] = min(cost, diagonal+1, row[j]+1)
		}
	}
	return row[len(b)]
}
