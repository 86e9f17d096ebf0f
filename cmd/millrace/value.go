package main

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/millrace/millrace/job/jobfile"
)

// A size is a number of bytes: 4096, 64MiB, 2GB.
type size int64

func (s *size) UnmarshalText(text []byte) error {
	n, err := jobfile.ParseSize(string(text))
	*s = size(n)
	return err
}

// A moment is a point in time: a date, RFC 3339, or how long ago (7d, 36h).
type moment struct{ time.Time }

func (m *moment) UnmarshalText(text []byte) error {
	t, err := parseMoment(string(text), time.Now())
	m.Time = t
	return err
}

func parseMoment(s string, now time.Time) (time.Time, error) {
	if t, err := time.Parse(time.RFC3339, s); err == nil {
		return t, nil
	}
	if t, err := time.ParseInLocation(time.DateOnly, s, now.Location()); err == nil {
		return t, nil
	}
	if days, ok := strings.CutSuffix(s, "d"); ok {
		if n, err := strconv.ParseUint(days, 10, 16); err == nil {
			return now.AddDate(0, 0, -int(n)), nil
		}
	}
	if d, err := time.ParseDuration(s); err == nil && d >= 0 {
		return now.Add(-d), nil
	}
	return time.Time{}, fmt.Errorf("%q is not a date (2026-01-31), a time of RFC 3339 or a duration like 7d or 36h", s)
}
