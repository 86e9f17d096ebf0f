package guest

import (
	"io"
	"strings"
	"testing"
)

// A guest is told how many partitions there are, and what it says of a record comes back.
func TestPartitions(t *testing.T) {
	first, err := EncodeParams(map[string]string{"a": "1"})
	if err != nil {
		t.Fatal(err)
	}
	out := NewAnswers(io.Discard)
	o := NewObjects(io.MultiReader(ObjectStream(AppendPartitions(first, 300), &Meta{}, nil, nil), ObjectStream(nil, &Meta{}, nil, nil)), out)
	for range 2 {
		if _, err := o.Next(); err != nil {
			t.Fatal(err)
		}
		if out.Partitions() != 300 || o.Params()["a"] != "1" {
			t.Errorf("%d partitions, parameters %v", out.Partitions(), o.Params())
		}
	}
	for _, tt := range []struct {
		value string
		n, p  int
		rest  string
		err   string
	}{
		{string(AppendPartition(nil, 299)) + "v", 300, 299, "v", ""},
		{string(AppendPartition(nil, 0)), 1, 0, "", ""},
		{string(AppendPartition(nil, 300)), 300, 0, "", "a partition that there is not"},
		{"\xff\xff\xff\xff", 300, 0, "", "a partition that there is not"},
		{"\x00\x00\x00", 300, 0, "", "no partition"},
	} {
		p, rest, err := CutPartition([]byte(tt.value), tt.n)
		if tt.err != "" {
			if err == nil || !strings.Contains(err.Error(), tt.err) {
				t.Errorf("%q: got %v, want %s", tt.value, err, tt.err)
			}
			continue
		}
		if err != nil || p != tt.p || string(rest) != tt.rest {
			t.Errorf("%q: got %d, %q, %v", tt.value, p, rest, err)
		}
	}
}
