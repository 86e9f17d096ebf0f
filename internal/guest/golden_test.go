package guest

import (
	"bytes"
	"io"
	"strings"
	"testing"
	"time"
)

// The bytes of version 3. A change here is a new ABI.
func TestGolden(t *testing.T) {
	params, err := EncodeParams(map[string]string{"b": "2", "a": "1"})
	if err != nil {
		t.Fatal(err)
	}
	m := &Meta{Key: "k", URI: "mem:k", ETag: "e", Size: 3, Modified: time.Unix(0, 1)}
	var out bytes.Buffer
	a := NewAnswers(&out)
	a.Record([]byte("key"), []byte("v"))
	a.Text([]byte("line\n"))
	a.Count("n", -1)
	a.OK()
	a.Fail("why")
	a.Flush()
	a.repeats, a.records = true, tallyAfter
	for range 300 {
		a.Record([]byte("key"), []byte("v"))
	}
	a.Record([]byte("once"), nil)
	a.OK()
	a.Flush()
	read := func(r io.Reader) string {
		p, err := io.ReadAll(r)
		if err != nil {
			t.Fatal(err)
		}
		return string(p)
	}
	float, err := AppendFloat(nil, -2)
	if err != nil {
		t.Fatal(err)
	}
	place, err := AppendMemory(nil, m, 5, 3)
	if err != nil {
		t.Fatal(err)
	}
	tests := []struct{ name, got, want string }{
		{"object in memory", read(ObjectStream(params, m, nil, []byte("abc"))),
			"P\x00\x00\x00\x08\x01a\x011\x01b\x012" + "O\x00\x00\x00\x0c\x01k\x05mem:k\x01e\x06\x02" + "D\x00\x00\x00\x03abc" + "E\x00\x00\x00\x00"},
		{"object streamed", read(ObjectStream(nil, &Meta{Size: -1}, strings.NewReader("abc"), nil)),
			"O\x00\x00\x00\x0e\x00\x00\x00\x01\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01" + "D\x00\x00\x00\x03abc" + "E\x00\x00\x00\x00"},
		{"object in shared memory", string(place),
			"O\x00\x00\x00\x0c\x01k\x05mem:k\x01e\x06\x02" + "M\x00\x00\x00\x08\x00\x00\x00\x05\x00\x00\x00\x03" + "E\x00\x00\x00\x00"},
		{"records", read(RecordStream(params, pairs("key", "v"))), "P\x00\x00\x00\x08\x01a\x011\x01b\x012" + "R\x03\x01keyv" + "E\x00\x00\x00\x00"},
		{"replies", out.String(), "R\x03\x01keyv" + "T\x05line\n" + "C\x01n\x01" + "K\x02" + "F\x03why" +
			"X\xac\x02R\x03\x01keyv" + "R\x04\x00once" + "K\xad\x22"},
		{"int", string(AppendInt(nil, -2)), "\x7f\xff\xff\xff\xff\xff\xff\xfe"},
		{"uint", string(AppendUint(nil, 2)), "\x00\x00\x00\x00\x00\x00\x00\x02"},
		{"float", string(float), "\x3f\xff\xff\xff\xff\xff\xff\xff"},
		{"description", Description{ABI: ABI, Key: Int, Acc: Binary, Result: Float, Stock: "mean"}.String(),
			"millrace-guest-abi/3 8c5e2f6d41\nkey int\nacc binary\nresult float\nstock mean\n"},
		{"partitions", string(AppendPartitions(nil, 258)), "N\x00\x00\x00\x04\x00\x00\x01\x02"},
		{"repeats", string(AppendRepeats(nil)), "Q\x00\x00\x00\x00"},
		{"partition", string(AppendPartition(nil, 258)), "\x00\x00\x01\x02"},
		{"delimited", string(AppendDelimited(nil, String, []byte("a\x00"))), "a\x00\xff\x00\x01"},
		{"description of a guest that partitions", Description{ABI: ABI, Partitions: true}.String(),
			"millrace-guest-abi/3 8c5e2f6d41\nkey string\nacc string\nresult string\npartitions own\n"},
		{"environment", strings.Join(Env(Reduce), " "), "MILLRACE_ABI=millrace-guest-abi/3 8c5e2f6d41 MILLRACE_MODE=reduce"},
	}
	for _, tt := range tests {
		if tt.got != tt.want {
			t.Errorf("%s: got %q, want %q", tt.name, tt.got, tt.want)
		}
	}
}

func TestGuestRefuses(t *testing.T) {
	head := func(kind byte, n int) string { return string(appendHeader(nil, kind, n)) }
	tests := []struct{ name, stdin, want string }{
		{"no object", head(kindData, 0), "no object where one must begin"},
		{"long object", head(kindObject, maxObject+1), "no object where one must begin"},
		{"long params", head(kindParams, maxParams+1), "parameters are too long"},
		{"malformed params", head(kindParams, 2) + "\x01a", "malformed parameters"},
		{"params alone", head(kindParams, 0), "stream is cut short"},
		{"malformed partitions", head(kindParts, 3) + "123", "malformed number of partitions"},
		{"half of partitions", head(kindParts, 4) + "12", "stream is cut short"},
		{"partitions alone", head(kindParts, 4) + "1234", "stream is cut short"},
		{"params behind partitions", head(kindParts, 4) + "1234" + head(kindParams, 0), "no object where one must begin"},
		{"malformed leave", head(kindRepeat, 1), "malformed leave to repeat"},
		{"leave alone", head(kindRepeat, 0), "stream is cut short"},
		{"partitions behind leave", head(kindRepeat, 0) + head(kindParts, 4), "no object where one must begin"},
		{"malformed object", head(kindObject, 3) + "\x00\x00\x00", "malformed object metadata"},
		{"long name", head(kindObject, 1) + "\x05", "malformed object metadata"},
		{"no data", head(kindObject, 5) + "\x00\x00\x00\x00\x00" + head(kindObject, 0), "no data where an object's bytes must be"},
		{"end with a length", head(kindObject, 5) + "\x00\x00\x00\x00\x00" + head(kindEnd, 1), "no data where an object's bytes must be"},
	}
	place := func(off, n string) string {
		return head(kindObject, 5) + "\x00\x00\x00\x00\x00" + head(kindMemory, placeLen) + off + n
	}
	tests = append(tests, []struct{ name, stdin, want string }{
		{"long place", head(kindObject, 5) + "\x00\x00\x00\x00\x00" + head(kindMemory, 9) + "123456789", "malformed place in memory"},
		{"half a place", place("\x00\x00\x00\x00", ""), "stream is cut short"},
		{"place over the end", place("\x00\x00\x00\x04", "\x00\x00\x00\x01"), "place outside of the shared memory"},
		{"place beyond all", place("\xff\xff\xff\xff", "\xff\xff\xff\xff"), "place outside of the shared memory"},
	}...)
	for _, tt := range tests {
		o := NewObjects(strings.NewReader(tt.stdin), NewAnswers(io.Discard))
		o.Share(make([]byte, 4))
		_, err := o.Next()
		if err == nil {
			_, err = o.Next() // skips the body
		}
		if err == nil || err.Error() != "guest protocol: "+tt.want {
			t.Errorf("%s: got %v, want %s", tt.name, err, tt.want)
		}
	}
	records := []struct{ name, stdin, want string }{
		{"no record", "X", "no record where one must be"},
		{"end with a length", head(kindEnd, 1), "end of records has a length"},
		{"long key", "R\x81\x80\x40\x00", "record is too long"},
		{"long value", "R\x00\x81\x80\x80\x20", "record is too long"},
		{"long params", head(kindParams, maxParams+1), "parameters are too long"},
	}
	for _, tt := range records {
		rs, err := NewRecords(strings.NewReader(tt.stdin))
		if err == nil {
			_, _, _, err = rs.Next()
		}
		if err == nil || err.Error() != "guest protocol: "+tt.want {
			t.Errorf("%s: got %v, want %s", tt.name, err, tt.want)
		}
	}
	a := NewAnswers(io.Discard)
	for what, err := range map[string]error{
		"key":   a.Record(make([]byte, DefaultBounds.Key+1), nil),
		"value": a.Record(nil, make([]byte, DefaultBounds.Value+1)),
		"text":  a.Text(make([]byte, DefaultBounds.Value+1)),
	} {
		if err == nil {
			t.Errorf("an endless %s was written", what)
		}
	}
}
