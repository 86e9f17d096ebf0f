package format

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"io"
	"math"
	"strings"
	"testing"

	"github.com/apache/arrow/go/v17/arrow"
	"github.com/apache/arrow/go/v17/arrow/array"
	"github.com/apache/arrow/go/v17/arrow/ipc"
	"github.com/klauspost/compress/zstd"

	"github.com/millrace/millrace/internal/guest"
	"github.com/millrace/millrace/job"
)

// write returns a part of n records with keys key-0000000 and so on and the values that value makes.
func write(t *testing.T, f job.Format, typ guest.Type, n int, value func(i int) []byte) []byte {
	t.Helper()
	var out bytes.Buffer
	w, err := NewWriter(&out, f, guest.String, typ)
	if err != nil {
		t.Fatal(err)
	}
	for i := range n {
		if err := w.Record(fmt.Appendf(nil, "key-%07d", i), value(i)); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func TestLines(t *testing.T) {
	value := func(i int) []byte { return guest.AppendInt(nil, int64(i)) }
	if got, want := string(write(t, job.Text, guest.Int, 2, value)), "key-0000000\t0\nkey-0000001\t1\n"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	if got, want := string(write(t, job.JSONL, guest.Int, 1, value)), "{\"key\":\"key-0000000\",\"value\":0}\n"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestArrow(t *testing.T) {
	float := func(f float64) []byte { b, _ := guest.AppendFloat(nil, f); return b }
	tests := []struct {
		typ     guest.Type
		arrow   arrow.DataType
		encoded [][]byte
		want    string
	}{
		{guest.String, arrow.BinaryTypes.String, [][]byte{[]byte("ä"), nil, []byte("b\xffc")}, `["ä" "" "b` + "\ufffd" + `c"]`},
		{guest.JSON, arrow.BinaryTypes.String, [][]byte{[]byte(`[1]`)}, `["[1]"]`},
		{guest.Bytes, arrow.BinaryTypes.Binary, [][]byte{[]byte("\xff")}, `["\xff"]`},
		{guest.Binary, arrow.BinaryTypes.Binary, [][]byte{[]byte("a")}, `["a"]`},
		{guest.Int, arrow.PrimitiveTypes.Int64, [][]byte{guest.AppendInt(nil, -5), guest.AppendInt(nil, 7)}, `[-5 7]`},
		{guest.Uint, arrow.PrimitiveTypes.Uint64, [][]byte{guest.AppendUint(nil, math.MaxUint64)}, `[18446744073709551615]`},
		{guest.Float, arrow.PrimitiveTypes.Float64, [][]byte{float(0.5), float(math.Inf(1))}, `[0.5 +Inf]`},
		{guest.Bool, arrow.FixedWidthTypes.Boolean, [][]byte{{1}, {0}}, `[true false]`},
	}
	for _, tt := range tests {
		part := write(t, job.Arrow, tt.typ, len(tt.encoded), func(i int) []byte { return tt.encoded[i] })
		r, err := ipc.NewFileReader(bytes.NewReader(part))
		if err != nil {
			t.Fatal(err)
		}
		if f := r.Schema().Fields(); f[0].Name != "key" || f[1].Name != "value" || !arrow.TypeEqual(f[1].Type, tt.arrow) {
			t.Errorf("%v: schema %v", tt.typ, r.Schema())
		}
		rec, err := r.Record(0)
		if err != nil {
			t.Fatal(err)
		}
		if got := fmt.Sprint(rec.Column(1)); got != tt.want {
			t.Errorf("%v: got %s, want %s", tt.typ, got, tt.want)
		}
		if err := r.Close(); err != nil {
			t.Error(err)
		}
	}
}

// More than a batch comes back, and the same records give the same bytes.
func TestBatches(t *testing.T) {
	const n = 20
	long := strings.Repeat("x", batchBytes/15)
	value := func(i int) []byte { return fmt.Append(nil, i, long) }
	for _, f := range []job.Format{job.Arrow, job.Parquet} {
		if !bytes.Equal(write(t, f, guest.String, 2, value), write(t, f, guest.String, 2, value)) {
			t.Errorf("%s: the same records give other bytes", f)
		}
	}
	r, err := ipc.NewFileReader(bytes.NewReader(write(t, job.Arrow, guest.String, n, value)))
	if err != nil {
		t.Fatal(err)
	}
	row := 0
	for i := range r.NumRecords() {
		rec, err := r.Record(i)
		if err != nil {
			t.Fatal(err)
		}
		for j := range int(rec.NumRows()) {
			if got := rec.Column(1).(*array.String).Value(j); got != string(value(row)) {
				t.Fatalf("row %d: got %q", row, got)
			}
			row++
		}
	}
	if row != n || r.NumRecords() < 2 {
		t.Errorf("%d rows in %d batches", row, r.NumRecords())
	}
}

// A part without records is a file all the same.
func TestEmpty(t *testing.T) {
	r, err := ipc.NewFileReader(bytes.NewReader(write(t, job.Arrow, guest.Int, 0, nil)))
	if err != nil || r.NumRecords() != 0 {
		t.Errorf("%d batches, %v", r.NumRecords(), err)
	}
	part := string(write(t, job.Parquet, guest.Int, 0, nil))
	if !strings.HasPrefix(part, "PAR1") || !strings.HasSuffix(part, "PAR1") {
		t.Errorf("got %q", part)
	}
}

// What a program declares and what it emits may differ; then nothing is written that is not of its type.
func TestWrongType(t *testing.T) {
	for _, f := range []job.Format{job.Arrow, job.Parquet} {
		for typ, enc := range map[guest.Type]string{guest.Int: "short", guest.Uint: "", guest.Float: "\xff\xff\xff\xff\xff\xff\xff\xff", guest.Bool: "\x02"} {
			w, err := NewWriter(io.Discard, f, guest.String, typ)
			if err != nil {
				t.Fatal(err)
			}
			if err := w.Record([]byte("k"), []byte(enc)); err != errEncoding {
				t.Errorf("%s of %v: got %v", f, typ, err)
			}
		}
	}
}

// Members that follow each other are read as one.
func TestCompressors(t *testing.T) {
	text := strings.Repeat("some text that is said often\n", 10_000)
	for c, open := range map[job.Compression]func(io.Reader) (io.Reader, error){
		job.Gzip: func(r io.Reader) (io.Reader, error) { return gzip.NewReader(r) },
		job.Zstd: func(r io.Reader) (io.Reader, error) { return zstd.NewReader(r) },
	} {
		var out bytes.Buffer
		sizes := make([]int, 0, 3)
		for _, s := range []string{text, "", text} {
			z, err := NewCompressor(&out, c)
			if err != nil {
				t.Fatal(err)
			}
			for len(s) > 0 { // however it is cut
				n := min(len(s), 1+len(s)*(3+len(sizes))/7)
				if _, err := io.WriteString(z, s[:n]); err != nil {
					t.Fatal(err)
				}
				s = s[n:]
			}
			if err := z.Close(); err != nil {
				t.Fatal(err)
			}
			sizes = append(sizes, out.Len())
		}
		if b := out.Bytes(); !bytes.Equal(b[:sizes[0]], b[sizes[1]:]) || sizes[1] == sizes[0] {
			t.Errorf("%s: members end at %d", c, sizes)
		}
		r, err := open(&out)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := io.ReadAll(r); err != nil || string(got) != text+text {
			t.Errorf("%s: got %d bytes, %v", c, len(got), err)
		}
	}
	if _, err := NewCompressor(nil, "lz4"); err == nil {
		t.Error("an unknown compression was taken")
	}
}
