package reducer

import (
	"math"
	"testing"
)

// The encodings of stock accumulators, which lie in runs and are exchanged with guests. A change here is a new guest ABI.
func TestGolden(t *testing.T) {
	tests := []struct{ reducer, text, want string }{
		{"sum", "1", "\x02"},
		{"sum", "-1", "\x01"},
		{"sum", "300", "\xd8\x04"},
		{"sum", "-9223372036854775808", "\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01"},
		{"count", "x", "\x02"},
		{"sum:float64", "0", "\x00"},
		{"sum:float64", "1", "\x00\x00\x86\x04"}, // bit 1074 is bit 2 of byte 134
		{"sum:float64", "-1", "\x00\x00\x86\xfc"},
		{"sum:float64", "inf", "\x01"},
		{"mean", "1", "\x01\x00\x00\x86\x04"},
		{"min", "-1", "\x7f\xff\xff\xff\xff\xff\xff\xff"},
		{"identity", "x", "x"},
	}
	for _, tt := range tests {
		n, ok := LookupText(tt.reducer)
		if !ok {
			t.Fatalf("no reducer %s", tt.reducer)
		}
		if got, err := n.Lift(nil, []byte(tt.text)); err != nil || string(got) != tt.want {
			t.Errorf("%s of %s: got %q, %v; want %q", tt.reducer, tt.text, got, err, tt.want)
		}
	}
}

func TestMalformedAccumulators(t *testing.T) {
	tests := []struct{ reducer, acc string }{
		{"sum", ""}, {"sum", "\x80"}, {"sum", "\x80\x00"}, {"sum", "\x02\x02"},
		{"sum", "\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x04"},
		{"sum:float64", ""}, {"sum:float64", "\x08"}, {"sum:float64", "\x00\x00\x00"}, {"sum:float64", "\x00\x00\x86\x00"},
		{"sum:float64", "\x00\x00\x86\x04\x00"}, {"sum:float64", "\x00\x00\x86\x84\xff"}, {"sum:float64", "\x00\x01\x10\x01"},
		{"mean", ""}, {"mean", "\x00\x00"}, {"mean", "\x01"}, {"mean", "\x81\x00\x00"},
	}
	good := map[string][]byte{"sum": {2}, "sum:float64": {0}, "mean": {1, 0}}
	for _, tt := range tests {
		n, ok := LookupText(tt.reducer)
		if !ok {
			t.Fatalf("no reducer %s", tt.reducer)
		}
		if got, err := n.Reduce(nil, []byte(tt.acc)); err == nil {
			t.Errorf("%s of %q: got %x", tt.reducer, tt.acc, got)
		}
		merged := n.Merge(nil, good[tt.reducer], n.Merge(nil, []byte(tt.acc), good[tt.reducer]))
		if got, err := n.Reduce(nil, merged); err == nil {
			t.Errorf("%s of %q, merged: got %x", tt.reducer, tt.acc, got)
		}
	}
	// More than a float64 holds is kept as long as it may come down again.
	if _, err := exactFloat(math.MaxFloat64).add(exactFloat(math.MaxFloat64)).quotient(2, "mean"); err != nil {
		t.Error(err)
	}
}
