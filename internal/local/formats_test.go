package local_test

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"io"
	"strings"
	"testing"

	"github.com/apache/arrow/go/v17/arrow/ipc"
	"github.com/apache/arrow/go/v17/parquet"
	"github.com/apache/arrow/go/v17/parquet/file"
	"github.com/klauspost/compress/zstd"

	"github.com/millrace/millrace/job"
	"github.com/millrace/millrace/store"
	"github.com/millrace/millrace/store/mem"
)

// Parts are named by their format and compression, are the same each time, and read back.
func TestFormats(t *testing.T) {
	plain := "k\t[9,5]\nl\t[1]\n"
	tests := []struct {
		fields, suffix string
		read           func(r io.Reader) (string, error)
	}{
		{"format: text", "", text},
		{"format: jsonl\ncompress: gzip", ".gz", func(r io.Reader) (string, error) {
			z, err := gzip.NewReader(r)
			if err != nil {
				return "", err
			}
			s, err := text(z)
			return strings.NewReplacer(`{"key":"`, "", `","value":`, "\t", "}", "").Replace(s), err
		}},
		{"compress: zstd", ".zst", func(r io.Reader) (string, error) {
			z, err := zstd.NewReader(r)
			if err != nil {
				return "", err
			}
			defer z.Close()
			return text(z)
		}},
		{"format: arrow", ".arrow", arrowText},
		{"format: parquet", ".parquet", parquetText},
	}
	for _, tt := range tests {
		var parts [2]string
		for i := range parts {
			m := mem.New()
			for key, body := range map[string]string{"1": "k\t5\nk\t9", "2": "l\t1\nk\t2\n"} {
				if _, err := m.Bucket("in").Put(t.Context(), store.Key(key), []byte(body)); err != nil {
					t.Fatal(err)
				}
			}
			res, err := runFile(t, m, "inputs: [\"mem:in\"]\nreducer: top-k(2)\nreducers: 3\n"+tt.fields)
			if err != nil {
				t.Fatalf("%s: %v", tt.fields, err)
			}
			all := ""
			for n, p := range res.Manifest.Parts {
				if want := fmt.Sprintf("part-r-%05d%s", n, tt.suffix); p.Key != want {
					t.Errorf("%s: part %s, want %s", tt.fields, p.Key, want)
				}
				b := read(t, m.Bucket("out"), store.Key(p.Key))
				parts[i] += b
				text, err := tt.read(strings.NewReader(b))
				if err != nil {
					t.Errorf("%s: %s: %v", tt.fields, p.Key, err)
				}
				all += text
			}
			if got := strings.Join(sorted(all), ""); got != plain {
				t.Errorf("%s: got %q, want %q", tt.fields, got, plain)
			}
		}
		if parts[0] != parts[1] {
			t.Errorf("%s: two runs differ", tt.fields)
		}
	}
}

func text(r io.Reader) (string, error) {
	b, err := io.ReadAll(r)
	return string(b), err
}

func sorted(text string) []string { return lines(map[string]string{"part-": text}) }

// arrowText returns the records of an Arrow file as text.
func arrowText(r io.Reader) (string, error) {
	b, err := io.ReadAll(r)
	if err != nil {
		return "", err
	}
	f, err := ipc.NewFileReader(bytes.NewReader(b))
	if err != nil {
		return "", err
	}
	all := ""
	for i := range f.NumRecords() {
		rec, err := f.Record(i)
		if err != nil {
			return "", err
		}
		for row := range int(rec.NumRows()) {
			all += rec.Column(0).ValueStr(row) + "\t" + rec.Column(1).ValueStr(row) + "\n"
		}
	}
	return all, f.Close()
}

// parquetText returns the records of a Parquet file, all of strings, as text.
func parquetText(r io.Reader) (string, error) {
	b, err := io.ReadAll(r)
	if err != nil {
		return "", err
	}
	f, err := file.NewParquetReader(bytes.NewReader(b))
	if err != nil {
		return "", err
	}
	all := ""
	for g := range f.NumRowGroups() {
		var columns [2][10]parquet.ByteArray
		n := 0
		for i := range columns {
			c, err := f.RowGroup(g).Column(i)
			if err != nil {
				return "", err
			}
			if _, n, err = c.(*file.ByteArrayColumnChunkReader).ReadBatch(10, columns[i][:], nil, nil); err != nil {
				return "", err
			}
		}
		for row := range n {
			all += string(columns[0][row]) + "\t" + string(columns[1][row]) + "\n"
		}
	}
	return all, f.Close()
}

// Lines that are not reduced can be compressed, but are no table.
func TestMapOnlyFormats(t *testing.T) {
	m := mem.New()
	for i := range 50 {
		if _, err := m.Bucket("in").Put(t.Context(), store.Key(fmt.Sprintf("%02d", i)), fmt.Appendf(nil, "k\t%d\n", i)); err != nil {
			t.Fatal(err)
		}
	}
	res, err := runFile(t, m, "inputs: [\"mem:in\"]\ncompress: gzip\nexclude: [\"[1-4]*\"]")
	if err != nil {
		t.Fatal(err)
	}
	if len(res.Manifest.Parts) != 1 || res.Manifest.Parts[0].Key != "part-m-00000.gz" || res.Manifest.Compress != job.Gzip {
		t.Fatalf("got %+v", res.Manifest)
	}
	z, err := gzip.NewReader(strings.NewReader(read(t, m.Bucket("out"), "part-m-00000.gz")))
	if err != nil {
		t.Fatal(err)
	}
	if got, err := text(z); err != nil || len(sorted(got)) != 10 {
		t.Errorf("got %q, %v", got, err)
	}
	if err := m.Bucket("out").Delete(t.Context(), "_manifest.json"); err != nil {
		t.Fatal(err)
	}
	if err := m.Bucket("out").Delete(t.Context(), "part-m-00000.gz"); err != nil {
		t.Fatal(err)
	}
	const want = "prints lines, which have no columns"
	if _, err := runFile(t, m, "inputs: [\"mem:in\"]\nformat: parquet"); err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("got %v, want an error with %q", err, want)
	}
}

// All partitions, in their order, in one object; nothing else is left.
func TestSingle(t *testing.T) {
	for fields, open := range map[string]func(io.Reader) (io.Reader, error){
		"single: all":                      func(r io.Reader) (io.Reader, error) { return r, nil },
		"single: all\ncompress: gzip":      func(r io.Reader) (io.Reader, error) { return gzip.NewReader(r) },
		"single: all\nexclude: [\"*\"]":    func(r io.Reader) (io.Reader, error) { return r, nil },
		"single: all\nreducer: \"\"":       func(r io.Reader) (io.Reader, error) { return r, nil },
		"single: all\ntolerate: \"all\"\n": func(r io.Reader) (io.Reader, error) { return r, nil },
	} {
		m := mem.New()
		want := ""
		for i := range 30 {
			line := fmt.Sprintf("key%02d\t1\n", i)
			if !strings.Contains(fields, "exclude") {
				want += line
			}
			if _, err := m.Bucket("in").Put(t.Context(), store.Key(fmt.Sprint(i)), []byte(line)); err != nil {
				t.Fatal(err)
			}
		}
		if !strings.Contains(fields, "reducer") {
			fields += "\nreducer: sum\nreducers: 4"
		}
		if strings.Contains(fields, "tolerate") { // a list of failed objects stays beside it
			if _, err := m.Bucket("in").Put(t.Context(), "bad", []byte("key99\tx\n")); err != nil {
				t.Fatal(err)
			}
		}
		res, err := runFile(t, m, "inputs: [\"mem:in\"]\n"+fields)
		if err != nil {
			t.Fatalf("%s: %v", fields, err)
		}
		r, err := open(strings.NewReader(read(t, m.Bucket("out"), "all")))
		if err != nil {
			t.Fatal(err)
		}
		got, err := text(r)
		if err != nil || strings.Join(sorted(got), "") != want {
			t.Errorf("%s: got %q, %v; want the lines of %q", fields, got, err, want)
		}
		if p := res.Manifest.Parts; len(p) != 1 || p[0].Key != "all" || p[0].Records != int64(strings.Count(want, "\n")) {
			t.Errorf("%s: parts %+v", fields, p)
		}
		wantObjects := 2 + strings.Count(fields, "tolerate")
		objects := 0
		for _, err := range m.Bucket("out").List(t.Context(), "", "") {
			if err != nil {
				t.Fatal(err)
			}
			objects++
		}
		if objects != wantObjects || m.Bucket("out").Pending() != 0 {
			t.Errorf("%s: %d objects, want %d; %d pending", fields, objects, wantObjects, m.Bucket("out").Pending())
		}
	}
}
