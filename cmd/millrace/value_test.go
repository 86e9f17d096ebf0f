package main

import (
	"testing"
	"time"
)

func TestParseMoment(t *testing.T) {
	now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	tests := []struct{ in, want string }{
		{"2026-01-31", "2026-01-31T00:00:00Z"},
		{"2026-01-31T10:00:00+02:00", "2026-01-31T10:00:00+02:00"},
		{"1d", "2026-02-28T12:00:00Z"},
		{"36h", "2026-02-28T00:00:00Z"},
		{"0s", "2026-03-01T12:00:00Z"},
		{"-1h", ""},
		{"-1d", ""},
		{"d", ""},
		{"99999999d", ""},
		{"2026-02-30", ""},
		{"yesterday", ""},
		{"", ""},
	}
	for _, tt := range tests {
		got := ""
		if m, err := parseMoment(tt.in, now); err == nil {
			got = m.Format(time.RFC3339)
		}
		if got != tt.want {
			t.Errorf("parseMoment(%q) = %q, want %q", tt.in, got, tt.want)
		}
	}
}

func FuzzMoment(f *testing.F) {
	f.Add("7d")
	f.Add("2026-01-31")
	now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	f.Fuzz(func(t *testing.T, s string) {
		if m, err := parseMoment(s, now); err != nil && !m.IsZero() {
			t.Errorf("parseMoment(%q) = %v with %v", s, m, err)
		}
	})
}

func TestFormat(t *testing.T) {
	tests := []struct{ got, want string }{
		{count(0), "0"},
		{count(999), "999"},
		{count(1000), "1,000"},
		{count(1234567), "1,234,567"},
		{count(-1234), "-1,234"},
		{count(-123), "-123"},
		{plural(1, "object"), "1 object"},
		{plural(2, "match"), "2 matches"},
		{plural(0, "record"), "0 records"},
		{bytes(0), "0 bytes"},
		{bytes(1023), "1,023 bytes"},
		{bytes(1024), "1.0 KiB"},
		{bytes(5 << 40), "5.0 TiB"},
		{duration(300 * time.Millisecond), "0.3 s"},
		{duration(3*time.Minute + 5*time.Second), "3m05s"},
		{duration(2*time.Hour + 3*time.Minute), "2h03m"},
		{count(rate(100, 0)), "0"},
		{count(rate(100, 2*time.Second)), "50"},
		{cut("grün", 2), "gr"},
		{cut("grün", 9), "grün"},
		{cut("grün", -1), ""},
	}
	for i, tt := range tests {
		if tt.got != tt.want {
			t.Errorf("%d: got %q, want %q", i, tt.got, tt.want)
		}
	}
}
