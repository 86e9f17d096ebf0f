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
		{"identity", `a\tb`, "a\tb"},
		{"top-k(3)", "-1", "\x01\x01\x08\x7f\xff\xff\xff\xff\xff\xff\xff"},
		{"top-k-by:string(3)", "a\tbc", "\x01\x01\x01a\x02bc"},
		{"first:string", "a\tb\tc", "\x01\x01a\x03b\tc"},
		{"last:string:float64", "a\t1", "\x01\x01a\x08\xbf\xf0\x00\x00\x00\x00\x00\x00"},
		{"histogram(0, 10)", "10", "\x01\x00\x00\x01"},
		{"quantile(0.5)", "1", "\x01\xbf\xf0\x00\x00\x00\x00\x00\x00\xbf\xf0\x00\x00\x00\x00\x00\x00\xbf\xf0\x00\x00\x00\x00\x00\x01"},
		{"distinct", "x", "x"},
		{"distinct-approx", "x", "\x01\x06\xa4\x03"},
		{"concat", "x", "x"},
		{"join", "x", "\x01x"}, // of the first input
	}
	for _, tt := range tests {
		n, err := LookupText(tt.reducer)
		if err != nil {
			t.Fatalf("no reducer %s", tt.reducer)
		}
		if got, err := n.Lift(nil, []byte(tt.text), 0); err != nil || string(got) != tt.want {
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
		{"top-k(1)", "\x01"}, {"top-k(1)", "\x02"}, {"top-k(1)", "\x01\x00"}, {"top-k(1)", "\x01\x02\x01a\x01a"}, {"top-k:string(2)", "\x01\x02\x01b\x01a"},
		{"top-k:string(2)", "\x01\x02\x01b"}, {"top-k:string(2)", "\x01\x01\x81\x00a"}, {"top-k:string(2)", "\x01\x01\x01ab"},
		{"first:string", "\x01\x01a"}, {"first:string", "\x01\x01a\x01bc"}, {"histogram(0)", "\x01\x00"}, {"histogram(0)", "\x01\x00\x00\x00"},
		{"quantile(0)", "\x01"}, {"quantile(0)", "\x01aaaaaaaaaaaaaaaa"}, {"quantile(0)", "\x01aaaaaaaaaaaaaaaaa"}, {"quantile(0)", "\x01aaaaaaaaaaaaaaaa\x00\x00\x00\x00\x00\x00\x00\x00"},
		{"quantile(0)", "\x01aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"}, {"distinct-approx", "\x01\x00\x00"}, {"distinct-approx", "\x01\x00\x00\x00"}, {"distinct-approx", "\x01\x00\x00\xff"},
		{"mean", ""}, {"mean", "\x00\x00"}, {"mean", "\x01"}, {"mean", "\x81\x00\x00"},
	}
	good := map[string][]byte{"sum": {2}, "sum:float64": {0}, "mean": {1, 0}}
	for _, r := range []struct{ reducer, text string }{
		{"top-k(1)", "1"}, {"top-k:string(2)", "x"}, {"first:string", "a\tb"}, {"histogram(0)", "1"}, {"quantile(0)", "1"}, {"distinct-approx", "x"},
	} {
		n, err := LookupText(r.reducer)
		if err != nil {
			t.Fatal(err)
		}
		if good[r.reducer], err = n.Lift(nil, []byte(r.text), 0); err != nil {
			t.Fatal(err)
		}
	}
	for _, tt := range tests {
		n, err := LookupText(tt.reducer)
		if err != nil {
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
