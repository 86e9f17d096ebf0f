package format

import (
	"bytes"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/apache/arrow/go/v17/parquet"
	"github.com/apache/arrow/go/v17/parquet/file"
	"github.com/apache/arrow/go/v17/parquet/metadata"

	"github.com/millrace/millrace/internal/guest"
	"github.com/millrace/millrace/job"
)

// readAll returns all values of a column, shown as text.
func readAll(t *testing.T, r *file.Reader, column int) (all []string) {
	t.Helper()
	for g := range r.NumRowGroups() {
		chunk, err := r.RowGroup(g).Column(column)
		if err != nil {
			t.Fatal(err)
		}
		for chunk.HasNext() {
			const batch = 1000
			n := 0
			switch c := chunk.(type) {
			case *file.Int64ColumnChunkReader:
				values := make([]int64, batch)
				_, n, err = c.ReadBatch(batch, values, nil, nil)
				for _, v := range values[:n] {
					all = append(all, fmt.Sprint(v))
				}
			case *file.Float64ColumnChunkReader:
				values := make([]float64, batch)
				_, n, err = c.ReadBatch(batch, values, nil, nil)
				for _, v := range values[:n] {
					all = append(all, fmt.Sprint(v))
				}
			case *file.BooleanColumnChunkReader:
				values := make([]bool, batch)
				_, n, err = c.ReadBatch(batch, values, nil, nil)
				for _, v := range values[:n] {
					all = append(all, fmt.Sprint(v))
				}
			case *file.ByteArrayColumnChunkReader:
				values := make([]parquet.ByteArray, batch)
				_, n, err = c.ReadBatch(batch, values, nil, nil)
				for _, v := range values[:n] {
					all = append(all, string(v))
				}
			default:
				t.Fatalf("column of type %T", chunk)
			}
			if err != nil || n == 0 {
				t.Fatalf("read %d values, %v", n, err)
			}
		}
	}
	return all
}

// parquetReader returns a reader of a part of n rows, whose values value makes.
func parquetReader(t *testing.T, typ guest.Type, n int, value func(i int) []byte) *file.Reader {
	t.Helper()
	r, err := file.NewParquetReader(bytes.NewReader(write(t, job.Parquet, typ, n, value)))
	if err != nil {
		t.Fatal(err)
	}
	if r.NumRows() != int64(n) {
		t.Errorf("%d rows, want %d", r.NumRows(), n)
	}
	return r
}

func TestParquet(t *testing.T) {
	float := func(f float64) []byte { b, _ := guest.AppendFloat(nil, f); return b }
	tests := []struct {
		typ     guest.Type
		logical string
		encoded [][]byte
		want    []string
	}{
		{guest.String, "String", [][]byte{[]byte("ä"), nil, []byte("b\xffc")}, []string{"ä", "", "b\ufffdc"}},
		{guest.Bytes, "None", [][]byte{[]byte("a\x00\xff"), nil}, []string{"a\x00\xff", ""}},
		{guest.Binary, "None", [][]byte{{1, 2}}, []string{"\x01\x02"}},
		{guest.JSON, "JSON", [][]byte{[]byte(`[1,"x"]`)}, []string{`[1,"x"]`}},
		{guest.Int, "Int(bitWidth=64, isSigned=true)", [][]byte{guest.AppendInt(nil, -5), guest.AppendInt(nil, math.MaxInt64), guest.AppendInt(nil, math.MinInt64)},
			[]string{"-5", "9223372036854775807", "-9223372036854775808"}},
		{guest.Uint, "Int(bitWidth=64, isSigned=false)", [][]byte{guest.AppendUint(nil, math.MaxUint64)}, []string{"-1"}}, // as the reader has it
		{guest.Float, "None", [][]byte{float(0.5), float(math.Inf(-1))}, []string{"0.5", "-Inf"}},
		{guest.Bool, "None", [][]byte{{1}, {0}, {1}, {1}, {1}, {1}, {1}, {1}, {0}, {1}},
			[]string{"true", "false", "true", "true", "true", "true", "true", "true", "false", "true"}},
	}
	for _, tt := range tests {
		r := parquetReader(t, tt.typ, len(tt.encoded), func(i int) []byte { return tt.encoded[i] })
		if got := readAll(t, r, 1); !slices.Equal(got, tt.want) {
			t.Errorf("%v: got %q, want %q", tt.typ, got, tt.want)
		}
		schema := r.MetaData().Schema
		if got := schema.Column(1).LogicalType().String(); !strings.EqualFold(got, tt.logical) {
			t.Errorf("%v: logical type %s, want %s", tt.typ, got, tt.logical)
		}
		if schema.Column(0).Name() != "key" || schema.Column(1).Name() != "value" || schema.Column(1).MaxDefinitionLevel() != 0 {
			t.Errorf("schema %v", schema)
		}
	}
}

func TestParquetEmpty(t *testing.T) {
	if r := parquetReader(t, guest.Int, 0, nil); r.NumRowGroups() != 0 {
		t.Errorf("%d row groups", r.NumRowGroups())
	}
}

// Several pages and row groups, whose statistics hold.
func TestParquetGroups(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	rng := rand.New(rand.NewPCG(seed, 0))
	letters := make([]byte, 1<<20)
	for i := range letters {
		letters[i] = 'a' + byte(rng.Uint32()&7)
	}
	text := make([][]byte, 1500)
	for i := range text {
		at := rng.IntN(len(letters) - 60<<10)
		text[i] = letters[at : at+rng.IntN(60<<10)]
	}
	r := parquetReader(t, guest.String, len(text), func(i int) []byte { return text[i] })
	if r.NumRowGroups() < 2 {
		t.Errorf("%d row groups", r.NumRowGroups())
	}
	for i, got := range readAll(t, r, 1) {
		if got != string(text[i]) {
			t.Fatalf("value %d differs", i)
		}
	}
	row := 0
	for g := range r.NumRowGroups() {
		chunk, err := r.MetaData().RowGroup(g).ColumnChunk(0)
		if err != nil {
			t.Fatal(err)
		}
		s, err := chunk.Statistics()
		if err != nil {
			t.Fatal(err)
		}
		keys := s.(*metadata.ByteArrayStatistics)
		first := fmt.Sprintf("key-%07d", row)
		row += int(r.MetaData().RowGroup(g).NumRows())
		if last := fmt.Sprintf("key-%07d", row-1); string(keys.Min()) != first || string(keys.Max()) != last {
			t.Errorf("row group %d: keys from %s to %s, want %s to %s", g, keys.Min(), keys.Max(), first, last)
		}
	}
	if row != len(text) {
		t.Errorf("%d rows in groups, want %d", row, len(text))
	}
}

func TestParquetNumbers(t *testing.T) {
	const n = 200_000 // more than a page
	r := parquetReader(t, guest.Int, n, func(i int) []byte { return guest.AppendInt(nil, int64(i*i)-1000) })
	for i, got := range readAll(t, r, 1) {
		if got != fmt.Sprint(i*i-1000) {
			t.Fatalf("value %d is %s", i, got)
		}
	}
	chunk, err := r.MetaData().RowGroup(0).ColumnChunk(1)
	if err != nil {
		t.Fatal(err)
	}
	s, err := chunk.Statistics()
	if err != nil {
		t.Fatal(err)
	}
	if v := s.(*metadata.Int64Statistics); v.Min() != -1000 || v.Max() != (n-1)*(n-1)-1000 {
		t.Errorf("values from %d to %d", v.Min(), v.Max())
	}
}

// An output that breaks is an error, whatever the library was doing.
func TestParquetBroken(t *testing.T) {
	value := make([]byte, 100_000)
	rnd := rand.NewChaCha8([32]byte{})
	const records = groupBytes/100_000 + 10 // two row groups
	for _, tt := range []struct {
		room int
		want error
	}{{0, errNarrow}, {3, errNarrow}, {4, errNarrow}, {groupBytes / 2, errNarrow}, {groupBytes + 50_000, errNarrow}, {records*100_000 + 500, errNarrow}, {2 * groupBytes, nil}} {
		w, err := NewWriter(&narrow{left: tt.room}, job.Parquet, guest.Int, guest.Bytes)
		for i := 0; err == nil && i < records; i++ {
			_, _ = rnd.Read(value) // which has no errors
			err = w.Record(guest.AppendInt(nil, int64(i)), value)
		}
		if err == nil {
			err = w.Close()
		}
		if err != tt.want {
			t.Errorf("room for %d bytes: got %v, want %v", tt.room, err, tt.want)
		}
	}
}

// A narrow takes some bytes.
type narrow struct{ left int }

var errNarrow = errors.New("no room")

func (n *narrow) Write(p []byte) (int, error) {
	k := min(n.left, len(p))
	if n.left -= k; k < len(p) {
		return k, errNarrow
	}
	return k, nil
}
