package guest

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"maps"
	"strings"
	"testing"
	"testing/iotest"
	"time"
)

// rough is a Reader that returns p in pieces of all sizes.
func rough(r io.Reader) io.Reader {
	n := 0
	return readerFunc(func(p []byte) (int, error) {
		n = (n*7 + 3) % 700
		return r.Read(p[:min(len(p), n+1)])
	})
}

func TestObjectStream(t *testing.T) {
	params := map[string]string{"header": "Subject", "a": ""}
	frame, err := EncodeParams(params)
	if err != nil {
		t.Fatal(err)
	}
	when := time.Date(2026, 1, 2, 3, 4, 5, 6, time.UTC)
	metas := []Meta{
		{Key: "a", URI: "s3://b/a", ETag: "e", Size: 5, Modified: when},
		{Key: "k\x00\xff", URI: "file:///k", Size: 300_000},
		{Size: -1},
		{Key: "empty", Modified: when.Add(time.Hour)},
		{Key: "streamed", Size: 4},
	}
	big := bytes.Repeat([]byte("0123456789"), 30_000)
	bodies := [][]byte{[]byte("hello"), big, big[:70_001], nil, []byte("body")}
	stdin := func() io.Reader {
		return io.MultiReader(
			ObjectStream(frame, &metas[0], nil, bodies[0]),
			ObjectStream(nil, &metas[1], iotest.OneByteReader(bytes.NewReader(bodies[1])), nil),
			ObjectStream(nil, &metas[2], iotest.DataErrReader(bytes.NewReader(bodies[2])), nil),
			ObjectStream(nil, &metas[3], strings.NewReader("ignored"), []byte{}),
			ObjectStream(nil, &metas[4], strings.NewReader("body"), nil),
		)
	}
	for _, read := range []int{0, 3, 1 << 20} { // how much of a body the guest reads
		o := NewObjects(rough(stdin()), NewAnswers(io.Discard))
		for i, want := range metas {
			m, err := o.Next()
			if err != nil {
				t.Fatalf("object %d: %v", i, err)
			}
			if *m != want {
				t.Errorf("object %d: got %+v, want %+v", i, *m, want)
			}
			if !maps.Equal(o.Params(), params) {
				t.Errorf("object %d: got params %q, want %q", i, o.Params(), params)
			}
			got, err := io.ReadAll(io.LimitReader(o, int64(read)))
			if wantBody := bodies[i][:min(len(bodies[i]), read)]; err != nil || !bytes.Equal(got, wantBody) {
				t.Errorf("object %d: got %d bytes, %v; want %d", i, len(got), err, len(wantBody))
			}
		}
		if m, err := o.Next(); err != io.EOF {
			t.Errorf("after the last object: got %v, %v; want EOF", m, err)
		}
	}
	// Inline takes what came in one piece and is short enough.
	o := NewObjects(stdin(), NewAnswers(io.Discard))
	for i, want := range []string{"hello", "", "", "", "body"} {
		o.Next()
		p, err := o.Inline(1000)
		if err != nil || string(p) != want {
			t.Errorf("object %d inline: got %q, %v; want %q", i, p, err, want)
		}
	}
}

func TestObjectStreamErrors(t *testing.T) {
	boom := errors.New("connection reset")
	m := &Meta{Key: "a", Size: 10}
	tests := []struct {
		name string
		r    io.Reader
		want string
	}{
		{"body", ObjectStream(nil, m, io.MultiReader(strings.NewReader("abc"), iotest.ErrReader(boom)), nil), "connection reset"},
		{"name", ObjectStream(nil, &Meta{Key: strings.Repeat("k", maxObject)}, nil, nil), "object's name and metadata are larger than 64 KiB"},
	}
	for _, tt := range tests {
		p, err := io.ReadAll(tt.r)
		if err == nil || err.Error() != tt.want {
			t.Errorf("%s: got %v, want %s", tt.name, err, tt.want)
		}
		if bytes.HasSuffix(p, []byte{kindEnd, 0, 0, 0, 0}) {
			t.Errorf("%s: the stream says that the object is whole", tt.name)
		}
	}
	if _, err := EncodeParams(map[string]string{"p": strings.Repeat("x", maxParams+1)}); err == nil {
		t.Error("endless parameters were encoded")
	}
	// A guest must notice a stream that was cut anywhere inside an object.
	whole, err := io.ReadAll(ObjectStream(nil, m, nil, []byte("0123456789")))
	if err != nil {
		t.Fatal(err)
	}
	for n := 1; n < len(whole); n++ {
		o := NewObjects(bytes.NewReader(whole[:n]), NewAnswers(io.Discard))
		_, err := o.Next()
		if err == nil {
			_, err = io.Copy(io.Discard, readerFunc(o.Read))
		}
		if !errors.Is(err, ErrProtocol) {
			t.Fatalf("cut at %d of %d: got %v", n, len(whole), err)
		}
	}
}

// pairs returns a next function over key, value, key, value, ….
func pairs(kv ...string) func() ([]byte, []byte, bool, error) {
	return func() ([]byte, []byte, bool, error) {
		if len(kv) == 0 {
			return nil, nil, false, nil
		}
		k, v := kv[0], kv[1]
		kv = kv[2:]
		return []byte(k), []byte(v), true, nil
	}
}

func TestRecordStream(t *testing.T) {
	frame, _ := EncodeParams(map[string]string{"n": "3"})
	kv := []string{"", "", "a", "1", "a", strings.Repeat("v", 200_000), "b\x00", "", strings.Repeat("k", 5000), "x"}
	for name, wrap := range map[string]func(io.Reader) io.Reader{
		"rough": rough, "bytewise": iotest.OneByteReader, "whole": func(r io.Reader) io.Reader { return r },
	} {
		rs, err := NewRecords(wrap(RecordStream(frame, pairs(kv...))))
		if err != nil {
			t.Fatal(err)
		}
		if rs.Params()["n"] != "3" {
			t.Errorf("%s: got params %q", name, rs.Params())
		}
		for i := 0; i < len(kv); i += 2 {
			k, v, ok, err := rs.Next()
			if err != nil || !ok || string(k) != kv[i] || string(v) != kv[i+1] {
				t.Fatalf("%s: record %d: got %.20q, %.20q, %v, %v", name, i/2, k, v, ok, err)
			}
		}
		for range 2 {
			if _, _, ok, err := rs.Next(); ok || err != nil {
				t.Errorf("%s: after the last record: got %v, %v", name, ok, err)
			}
		}
	}
	whole, err := io.ReadAll(RecordStream(nil, pairs("a", "1", "b", "2")))
	if err != nil {
		t.Fatal(err)
	}
	for n := range whole {
		rs, err := NewRecords(bytes.NewReader(whole[:n]))
		for ok := true; ok && err == nil; {
			_, _, ok, err = rs.Next()
		}
		if !errors.Is(err, ErrProtocol) {
			t.Fatalf("cut at %d of %d: got %v", n, len(whole), err)
		}
	}
	boom := errors.New("corrupt: checksum")
	broken := RecordStream(nil, func() ([]byte, []byte, bool, error) { return nil, nil, false, boom })
	if _, err := io.ReadAll(broken); err != boom {
		t.Errorf("got %v, want %v", err, boom)
	}
}

// A log is a Handler that writes down what it is told.
type log struct {
	strings.Builder
	err error
}

func (l *log) Records(k, v []byte, n int64) error {
	if n != 1 {
		fmt.Fprintf(l, "%d×", n)
	}
	fmt.Fprintf(l, "R%q=%q ", trim(k), trim(v))
	return l.err
}
func (l *log) Text(p []byte) error { fmt.Fprintf(l, "T%q ", trim(p)); return l.err }
func (l *log) Count(name string, n int64) {
	fmt.Fprintf(l, "C%s%+d ", trim([]byte(name)), n)
}
func (l *log) Fail(reason string) { fmt.Fprintf(l, "F%q ", trim([]byte(reason))) }
func (l *log) OK()                { l.WriteString("OK ") }

func trim(p []byte) []byte {
	if len(p) > 40 {
		return fmt.Appendf(nil, "%s…%d", p[:3], len(p))
	}
	return p
}

// stdout returns what a guest writes for three objects.
func stdout(t testing.TB) []byte {
	var buf bytes.Buffer
	a := NewAnswers(&buf)
	check := func(err error) {
		if err != nil {
			t.Fatal(err)
		}
	}
	check(a.Record([]byte("k"), []byte("v")))
	check(a.Record(nil, nil))
	a.Count("bad dates", -3)
	check(a.OK())
	check(a.Text([]byte("a line\n")))
	check(a.Fail(strings.Repeat("why", 2000)))
	check(a.Record([]byte("big"), bytes.Repeat([]byte("x"), 200_000)))
	a.Count(strings.Repeat("n", 300), 1<<40)
	check(a.OK())
	check(a.Flush())
	return buf.Bytes()
}

const stdoutLog = `R"k"="v" R""="" Cbad dates-3 OK T"a line\n" F"why…4096" R"big"="xxx…200000" Cnnn…256+1099511627776 OK `

func TestReplies(t *testing.T) {
	p := stdout(t)
	for _, step := range []int{1, 2, 7, 1000, 65536, len(p)} {
		l := new(log)
		r := NewReplies(l, 3, Bounds{})
		for at := 0; at < len(p); at += step {
			piece := p[at:min(at+step, len(p))]
			if n, err := r.Write(piece); n != len(piece) || err != nil {
				t.Fatalf("step %d at %d: got %d, %v", step, at, n, err)
			}
		}
		if err := r.Close(); err != nil {
			t.Errorf("step %d: %v", step, err)
		}
		if l.String() != stdoutLog {
			t.Errorf("step %d:\ngot  %s\nwant %s", step, l, stdoutLog)
		}
	}
	for n := 0; n < len(p); n += 1 + n/64 {
		r := NewReplies(new(log), 3, Bounds{})
		if _, err := r.Write(p[:n]); err != nil {
			t.Fatalf("cut at %d: %v", n, err)
		}
		if err := r.Close(); !errors.Is(err, ErrProtocol) {
			t.Fatalf("cut at %d: Close returned %v", n, err)
		}
	}
}

func TestRepliesRefused(t *testing.T) {
	tests := []struct {
		name, stdout, want string
	}{
		{"print", "hello", "guest protocol: guest wrote something that is not a reply (programs of the SDK must not print to stdout)"},
		{"long key", "R\x09\x00", "guest protocol: reply 'R' of 9 bytes, more than the limit of 8"},
		{"long value", "R\x00\x11", "guest protocol: reply 'R' of 17 bytes, more than the limit of 16"},
		{"long text", "T\x7f", "guest protocol: reply 'T' of 127 bytes, more than the limit of 16"},
		{"long name", "C\x81\x02", "guest protocol: reply 'C' of 257 bytes, more than the limit of 256"},
		{"long reason", "F\x81\x20", "guest protocol: reply 'F' of 4097 bytes, more than the limit of 4096"},
		{"negative", "R\xff\xff\xff\xff\xff\xff\xff\xff\xff\x7f", "guest protocol: malformed number"},
		{"huge", "R\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", "guest protocol: reply 'R' of 18446744073709551615 bytes, more than the limit of 8"},
		{"count", "C\x01n\xff\xff\xff\xff\xff\xff\xff\xff\xff\x7f", "guest protocol: malformed number"},
		{"miscounted", "R\x00\x00K\x02", "guest protocol: guest counted 2 records, 1 came"},
		{"times without a record", "X\x02K\x02", "guest protocol: no record where one must be that comes several times"},
		{"times twice", "X\x02X\x02R\x00\x00", "guest protocol: no record where one must be that comes several times"},
		{"never", "X\x00R\x00\x00K\x00", "guest protocol: malformed number"},
		{"too often", "X\x80\x80\x80\x80\x80\x80\x80\x80\x80\x01R\x00\x00", "guest protocol: malformed number"},
		{"times miscounted", "X\x03R\x00\x00K\x02", "guest protocol: guest counted 2 records, 3 came"},
		{"times at the end", "K\x00X\x02", "guest protocol: guest answered for an object that it was not given"},
		{"half of times", "X\x02", "guest protocol: guest ended in the middle of a reply"},
		{"too much", "K\x00K\x00", "guest protocol: guest answered for an object that it was not given"},
		{"nothing", "", "guest protocol: guest ended without saying that it was done"},
		{"no end", "R\x00\x00", "guest protocol: guest ended without saying that it was done"},
		{"half", "R\x00", "guest protocol: guest ended in the middle of a reply"},
	}
	for _, tt := range tests {
		r := NewReplies(new(log), 1, Bounds{Key: 8, Value: 16})
		_, err := io.Copy(r, iotest.OneByteReader(strings.NewReader(tt.stdout)))
		if err == nil {
			err = r.Close()
		}
		if err == nil || err.Error() != tt.want || !errors.Is(err, ErrProtocol) {
			t.Errorf("%s: got %v, want %s", tt.name, err, tt.want)
		}
		if again := r.Close(); err != again {
			t.Errorf("%s: Close then returned %v", tt.name, again)
		}
	}
	full := errors.New("disk full")
	r := NewReplies(&log{err: full}, 1, Bounds{})
	if _, err := r.Write([]byte("R\x00\x00K\x01")); err != full {
		t.Errorf("got %v, want the handler's error", err)
	}
}

func TestDescription(t *testing.T) {
	good := []Description{
		{ABI: ABI, MapOnly: true},
		{ABI: ABI, Key: String, Acc: Binary, Result: Int, Stock: "sum:int64"},
		{ABI: ABI, Key: Float, Acc: JSON, Result: Bool},
	}
	for _, want := range good {
		if got, err := ParseDescription([]byte(want.String())); err != nil || got != want {
			t.Errorf("got %+v, %v; want %+v", got, err, want)
		}
	}
	bad := []struct{ text, want string }{
		{"", "description is cut short"},
		{"millrace-guest-abi/0\nmaponly\n", "program speaks another version than " + ABI},
		{ABI + "\n", "description has a wrong number of fields"},
		{ABI + "\nkey string\nacc binary\nresult int", "description is cut short"},
		{ABI + "\nkey string\nkey binary\nresult int\n", "description lacks its field acc"},
		{ABI + "\nkey string\nacc binary\nresult complex\n", "description has an unknown type for result"},
		{ABI + "\nkey string\nacc binary\nresult int\nstock \n", "description lacks its field stock"},
		{ABI + strings.Repeat("\n", 2000), "description is too long"},
	}
	for _, tt := range bad {
		if _, err := ParseDescription([]byte(tt.text)); err == nil || err.Error() != "guest protocol: "+tt.want {
			t.Errorf("%.60q: got %v, want %s", tt.text, err, tt.want)
		}
	}
}

func FuzzReplies(f *testing.F) {
	f.Add(stdout(f)[:200], 3)
	f.Add([]byte("X\x07R\x01\x01abX\x01R\x00\x00K\x08"), 2)
	f.Add([]byte("R\x01\x01abC\x01n\x05K\x01F\x03why"), 1)
	f.Fuzz(func(t *testing.T, p []byte, step int) {
		whole, pieces := new(log), new(log)
		b := Bounds{Key: 64, Value: 4096}
		r := NewReplies(whole, 3, b)
		_, wholeErr := r.Write(p)
		wholeClose := r.Close()
		r = NewReplies(pieces, 3, b)
		var err error
		step = max(1, step&63)
		for at := 0; at < len(p) && err == nil; at += step {
			_, err = r.Write(p[at:min(at+step, len(p))])
		}
		if len(r.buf) > 64+4096+32 {
			t.Errorf("%d bytes are held", len(r.buf))
		}
		closeErr := r.Close()
		if fmt.Sprint(err, closeErr) != fmt.Sprint(wholeErr, wholeClose) || whole.String() != pieces.String() {
			t.Errorf("whole: %s %v %v\npieces: %s %v %v", whole, wholeErr, wholeClose, pieces, err, closeErr)
		}
	})
}

func FuzzDescription(f *testing.F) {
	f.Add([]byte(Description{ABI: ABI, Key: String, Acc: Binary, Result: Int, Stock: "sum:int64"}.String()))
	f.Add([]byte(Description{ABI: ABI, MapOnly: true}.String()))
	f.Add([]byte(Description{ABI: ABI, Key: Int, Stock: "count", Partitions: true}.String()))
	f.Fuzz(func(t *testing.T, p []byte) {
		if d, err := ParseDescription(p); err == nil && d.String() != string(p) {
			t.Errorf("%q is parsed as %q", p, d.String())
		}
	})
}

func FuzzStdin(f *testing.F) {
	frame, _ := EncodeParams(map[string]string{"n": "3"})
	p, _ := io.ReadAll(ObjectStream(frame, &Meta{Key: "k", Size: 4}, nil, []byte("data")))
	f.Add(p)
	f.Add(append(AppendRepeats(AppendPartitions(nil, 3)), p[len(frame):]...))
	p, _ = io.ReadAll(RecordStream(frame, pairs("a", "1")))
	f.Add(p)
	f.Fuzz(func(t *testing.T, p []byte) {
		o := NewObjects(bytes.NewReader(p), NewAnswers(io.Discard))
		for {
			if _, err := o.Next(); err != nil {
				break
			}
			if data, err := o.Inline(100); err == nil && len(data) > 100 {
				t.Errorf("%d bytes inline", len(data))
			}
		}
		rs, err := NewRecords(bytes.NewReader(p))
		for ok := true; ok && err == nil; {
			var k, v []byte
			if k, v, ok, err = rs.Next(); len(k)+len(v) > len(p) {
				t.Error("more came out than went in")
			}
		}
	})
}

// A guest's side answers what the host's side asks.
func Example() {
	host := ObjectStream(nil, &Meta{Key: "a.txt", Size: 5}, strings.NewReader("mills"), nil)

	// The guest:
	var stdout bytes.Buffer
	answers := NewAnswers(&stdout)
	objects := NewObjects(host, answers)
	m, _ := objects.Next()
	body, _ := io.ReadAll(objects)
	answers.Record([]byte(m.Key), body)
	answers.OK()
	answers.Flush()

	// The host again:
	var l log
	r := NewReplies(&l, 1, Bounds{})
	r.Write(stdout.Bytes())
	fmt.Println(l.String(), r.Close())
	// Output: R"a.txt"="mills" OK  <nil>
}
