package main

import (
	"strings"
	"testing"

	"github.com/millrace/millrace/internal/mailgen"
)

func TestCheckGrep(t *testing.T) {
	want := []mailgen.Invoice{{Key: "a.eml", Line: 3, Number: 42}, {Key: "b.eml", Line: 7, Number: 1234}}
	tests := []struct{ name, out, fault string }{
		{"right", "b.eml:7:see: invoice 1234.\na.eml:3:invoice 0042\n", ""},
		{"missing", "a.eml:3:invoice 0042\n", `did not print 1 lines, one of them b.eml:7`},
		{"twice", "a.eml:3:invoice 0042\na.eml:3:invoice 0042\nb.eml:7:invoice 1234\n", "not planted"},
		{"other text", "a.eml:3:invoice 0043\nb.eml:7:invoice 1234\n", "not planted"},
		{"other line", "a.eml:4:invoice 0042\nb.eml:7:invoice 1234\n", "not planted"},
		{"no line", "hello\n", `printed "hello\n"`},
	}
	for _, tt := range tests {
		if err := checkGrep([]byte(tt.out), want); !matches(err, tt.fault) {
			t.Errorf("%s: got %v, want %q", tt.name, err, tt.fault)
		}
	}
}

func TestCheckCounts(t *testing.T) {
	want := map[string]int64{"a.example": 2, "b.example": 1}
	tests := []struct{ name, out, fault string }{
		{"right", "b.example\t1\na.example\t2\n", ""},
		{"missing", "a.example\t2\n", "b.example: got 0, want 1"},
		{"wrong", "a.example\t3\nb.example\t1\n", "a.example: got 3, want 2"},
		{"more", "a.example\t2\nb.example\t1\nc.example\t1\n", "c.example: got 1, want none"},
		{"twice", "a.example\t2\na.example\t2\n", "twice"},
		{"no number", "a.example\n", "not a key and a number"},
	}
	for _, tt := range tests {
		counts, err := parseCounts([]byte(tt.out))
		if err == nil {
			err = checkCounts(counts, want)
		}
		if !matches(err, tt.fault) {
			t.Errorf("%s: got %v, want %q", tt.name, err, tt.fault)
		}
	}
}

func matches(err error, fault string) bool {
	if err == nil || fault == "" {
		return err == nil && fault == ""
	}
	return strings.Contains(err.Error(), fault)
}
