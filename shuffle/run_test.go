package shuffle

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"slices"
	"testing"
	"testing/iotest"
)

// readAll returns the records of a section and how the reading ended.
func readAll(r io.Reader, opts *RunOptions) ([]record, error) {
	rr := NewRunReader(r, opts)
	var recs []record
	for k, v := range rr.All() {
		recs = append(recs, record{string(k), string(v)})
	}
	if rr.Next() {
		return recs, errors.New("another record after the last")
	}
	return recs, rr.Err()
}

func smallRun(t testing.TB) *sealed {
	return seal(t, []record{{"b", "2"}, {"a", "1"}, {"c", ""}}, &SorterOptions{DigestKey: 3})
}

func TestRunReaderAnyChunks(t *testing.T) {
	run := smallRun(t)
	for name, r := range map[string]io.Reader{
		"one byte": iotest.OneByteReader(bytes.NewReader(run.data)),
		"half":     iotest.HalfReader(bytes.NewReader(run.data)),
		"data err": iotest.DataErrReader(bytes.NewReader(run.data)),
	} {
		recs, err := readAll(r, nil)
		if err != nil || fmt.Sprint(recs) != "[{a 1} {b 2} {c }]" {
			t.Errorf("%s: got %v, %v", name, recs, err)
		}
	}
}

func TestAnyChangeIsFound(t *testing.T) {
	run := smallRun(t)
	for i := range run.data {
		bad := bytes.Clone(run.data)
		bad[i] ^= 1 << (i % 8)
		if recs, err := readAll(bytes.NewReader(bad), nil); !errors.Is(err, ErrCorrupt) {
			t.Fatalf("bit flipped in byte %d: got %d records, %v; want ErrCorrupt", i, len(recs), err)
		}
		if recs, err := readAll(bytes.NewReader(run.data[:i]), nil); !errors.Is(err, ErrCorrupt) {
			t.Fatalf("cut to %d bytes: got %d records, %v; want ErrCorrupt", i, len(recs), err)
		}
	}
}

// blocks cuts a section into its blocks.
func blocks(data []byte) (all [][]byte) {
	for len(data) > 0 {
		n := blockHeader + int(binary.LittleEndian.Uint32(data[4:]))
		all = append(all, data[:n])
		data = data[n:]
	}
	return all
}

// chain joins blocks, each with the sum that is due there.
func chain(blocks ...[]byte) (data []byte) {
	var sum uint64
	for _, b := range blocks {
		b = bytes.Clone(b)
		sum = blockSum(sum, b)
		binary.LittleEndian.PutUint64(b[blockHeader-8:], sum)
		data = append(data, b...)
	}
	return data
}

// changed returns a block with another payload.
func changed(block []byte, change func(payload []byte)) []byte {
	b := bytes.Clone(block)
	change(b[blockHeader:])
	return b
}

// endOf returns an END that says so many records.
func endOf(records uint64) []byte {
	b := append(make([]byte, blockHeader, blockHeader+endSize), make([]byte, endSize)...)
	new(sectionWriter).header(b, blockEnd, endSize, endSize)
	binary.LittleEndian.PutUint64(b[blockHeader:], records)
	binary.LittleEndian.PutUint64(b[blockHeader+8:], records)
	return b
}

func TestBlocksOutOfPlace(t *testing.T) {
	big := seal(t, []record{{"a", string(make([]byte, 2<<20))}, {"b", "1"}, {"c", string(make([]byte, 3<<20))}}, nil)
	bs := blocks(big.data)
	if len(bs) != 4 {
		t.Fatalf("got %d blocks, want 4", len(bs))
	}
	cat := func(b ...[]byte) []byte { return bytes.Join(b, nil) }
	end := bs[3]
	put := func(at int, b ...byte) []byte {
		bad := bytes.Clone(big.data)
		copy(bad[at:], b)
		return bad
	}
	for name, bad := range map[string][]byte{
		"reordered":              cat(bs[1], bs[0], bs[2], end),
		"reordered with sums":    chain(bs[1], bs[0], bs[2], end),
		"duplicate":              cat(bs[0], bs[0], bs[1], bs[2], end),
		"missing":                cat(bs[0], bs[2], end),
		"missing with sums":      chain(bs[0], bs[2], end),
		"no end":                 cat(bs[:3]...),
		"nothing":                nil,
		"end too early":          chain(bs[0], end),
		"end only":               chain(end),
		"another count":          chain(bs[0], bs[1], bs[2], endOf(2)),
		"version 1":              put(2, 1),
		"kind 9":                 put(3, 9),
		"length 2^31":            put(4, 0, 0, 0, 0x80),
		"size 2^31":              put(8, 0, 0, 0, 0x80),
		"no length":              put(4, 0, 0, 0, 0, 0, 0, 0, 0),
		"an end of 16 bytes":     chain(append(append([]byte("MR\x02\x03"), 16, 0, 0, 0, 16, 0, 0, 0), make([]byte, 8+16)...)),
		"LZ4 of more than there": chain(append(append([]byte("MR\x02\x02"), 4, 0, 0, 0, 200, 0, 0, 0), make([]byte, 8+4)...), endOf(0)),
		"a stream of zeros":      make([]byte, 1000),
	} {
		if _, err := readAll(bytes.NewReader(bad), nil); !errors.Is(err, ErrCorrupt) {
			t.Errorf("%s: got %v, want ErrCorrupt", name, err)
		}
	}
	if _, err := readAll(bytes.NewReader(chain(bs...)), nil); err != nil {
		t.Errorf("the blocks in place: %v", err)
	}
	want := big.sections[0]
	want.Block--
	if _, err := readAll(bytes.NewReader(big.data), &RunOptions{Expect: &want}); !errors.Is(err, ErrCorrupt) {
		t.Errorf("a block that is larger than was said: %v, want ErrCorrupt", err)
	}
}

func TestDigestIsVerified(t *testing.T) {
	run := smallRun(t)
	bs := blocks(run.data)
	last := len(bs) - 1
	bs[last] = changed(bs[last], func(p []byte) { p[16] ^= 1 })
	bad := chain(bs...)
	if _, err := readAll(bytes.NewReader(bad), &RunOptions{DigestKey: 3}); !errors.Is(err, ErrCorrupt) {
		t.Errorf("with the secret: %v, want ErrCorrupt", err)
	}
	if _, err := readAll(bytes.NewReader(bad), nil); err != nil {
		t.Errorf("without the secret nobody can know: %v", err)
	}
}

func TestExpect(t *testing.T) {
	run := smallRun(t)
	for name, change := range map[string]func(*Section){
		"records": func(s *Section) { s.Records++ },
		"emitted": func(s *Section) { s.Emitted++ },
		"digest":  func(s *Section) { s.Digest++ },
		"sum":     func(s *Section) { s.Sum++ },
	} {
		want := run.sections[0]
		change(&want)
		_, err := readAll(bytes.NewReader(run.data), &RunOptions{Name: "m-00013.1", Expect: &want})
		if !errors.Is(err, ErrCorrupt) || !bytes.HasPrefix([]byte(err.Error()), []byte("run m-00013.1: corrupt: ")) {
			t.Errorf("%s: got %v, want ErrCorrupt with the name of the run", name, err)
		}
	}
}

func TestUnsortedRunIsRefused(t *testing.T) {
	for name, recs := range map[string][]record{
		"keys":   {{"b", ""}, {"a", ""}},
		"values": {{"a", "2"}, {"a", "1"}},
	} {
		for _, filler := range []int{0, 20_000} { // also across blocks
			var buf bytes.Buffer
			w := writeTo(&buf)
			for i := range filler {
				w.add(nil, nil)
				if i == filler-1 {
					w.flushBlock()
				}
			}
			w.add([]byte(recs[0].key), []byte(recs[0].value))
			if filler > 0 {
				w.flushBlock()
			}
			w.add([]byte(recs[1].key), []byte(recs[1].value))
			if err := errors.Join(w.end(&Section{}), w.flush()); err != nil {
				t.Fatal(err)
			}
			if _, err := readAll(&buf, nil); !errors.Is(err, ErrCorrupt) {
				t.Errorf("%s out of order after %d: %v, want ErrCorrupt", name, filler, err)
			}
		}
	}
}

// writeTo returns a writer of a section.
func writeTo(to io.Writer) *sectionWriter {
	w := new(sectionWriter)
	w.start(to, 0, 0)
	w.begin()
	return w
}

func TestLargestRecord(t *testing.T) {
	var buf bytes.Buffer
	buf.Grow(MaxRecord + 1<<20)
	w := writeTo(&buf)
	w.add([]byte("key"), make([]byte, MaxRecord-3))
	if err := errors.Join(w.end(&Section{}), w.flush()); err != nil {
		t.Fatal(err)
	}
	r := NewRunReader(&buf, nil)
	if !r.Next() || len(r.Key())+len(r.Value()) != MaxRecord || r.Next() || r.Err() != nil {
		t.Errorf("a record of %d bytes was not read, %v", MaxRecord, r.Err())
	}
}

func TestReadErrorsPass(t *testing.T) {
	run := smallRun(t)
	broken := errors.New("disk is gone")
	for _, n := range []int{0, 5, 22, len(run.data) - 1} {
		r := io.MultiReader(bytes.NewReader(run.data[:n]), iotest.ErrReader(broken))
		if _, err := readAll(r, nil); !errors.Is(err, broken) || errors.Is(err, ErrCorrupt) {
			t.Errorf("after %d bytes: %v, want the error of the disk", n, err)
		}
	}
}

// FuzzLyingWriter is FuzzRunReader behind the checksums: a block whose sum is right.
func FuzzLyingWriter(f *testing.F) {
	for _, recs := range [][]record{{{"a", "1"}, {"b", "22"}}, {{"a", string(make([]byte, 5000))}}} {
		b := blocks(seal(f, recs, nil).data)[0]
		f.Add(b[3], binary.LittleEndian.Uint32(b[8:]), b[blockHeader:], uint64(len(recs)))
	}
	f.Fuzz(func(t *testing.T, kind byte, size uint32, payload []byte, records uint64) {
		if kind == blockEnd { // the section would end there
			return
		}
		b := append(make([]byte, blockHeader), payload...)
		new(sectionWriter).header(b, kind, len(payload), int(size))
		recs, err := readAll(bytes.NewReader(chain(b, endOf(records))), nil)
		if err != nil && !errors.Is(err, ErrCorrupt) {
			t.Errorf("%v, want ErrCorrupt", err)
		}
		if err == nil && (uint64(len(recs)) != records || !slices.IsSortedFunc(recs, compareRecords)) {
			t.Errorf("%d records, its end says %d, or out of order", len(recs), records)
		}
	})
}

func FuzzRunReader(f *testing.F) {
	f.Add(smallRun(f).data)
	f.Add(chain(endOf(0)))
	f.Fuzz(func(t *testing.T, data []byte) {
		recs, err := readAll(bytes.NewReader(data), nil)
		if err != nil {
			return
		}
		for i := 1; i < len(recs); i++ {
			if compareRecords(recs[i-1], recs[i]) > 0 {
				t.Errorf("record %d is out of order", i)
			}
		}
	})
}

// A writer that lies within correct frames can say what it likes about its records, but must not stop its reader.
func TestLyingWriter(t *testing.T) {
	run := seal(t, []record{{"a", "1"}, {"b", "22"}, {"c", ""}, {"d", string(make([]byte, 3000))}}, nil)
	bs := blocks(run.data)
	for i := range len(bs[0]) - blockHeader {
		for _, flip := range []byte{0x01, 0x10, 0x80, 0xff} {
			bad := chain(changed(bs[0], func(p []byte) { p[i] ^= flip }), bs[1])
			recs, err := readAll(bytes.NewReader(bad), nil)
			if err == nil && len(recs) != 4 {
				t.Fatalf("byte %d ^ %#x: got %d records and no error", i, flip, len(recs))
			}
			if err != nil && !errors.Is(err, ErrCorrupt) {
				t.Fatalf("byte %d ^ %#x: %v, want ErrCorrupt", i, flip, err)
			}
		}
	}
}

// BenchmarkSection writes and reads a section of records as a sort has them: keys of 10 bytes, values of 90 that do not compress.
func BenchmarkSection(b *testing.B) {
	const n = 100_000
	rnd := rand.NewChaCha8([32]byte{1})
	keys, value := make([][]byte, n), make([]byte, 90)
	rnd.Read(value)
	for i := range keys {
		keys[i] = make([]byte, 10)
		rnd.Read(keys[i])
	}
	slices.SortFunc(keys, bytes.Compare)
	write := func(to io.Writer) {
		w := writeTo(to)
		for _, k := range keys {
			copy(value, k)
			w.add(k, value)
		}
		if err := errors.Join(w.end(&Section{Emitted: n}), w.flush()); err != nil {
			b.Fatal(err)
		}
	}
	b.Run("write", func(b *testing.B) {
		b.SetBytes(n * 100)
		for range b.N {
			write(io.Discard)
		}
	})
	b.Run("read", func(b *testing.B) {
		var buf bytes.Buffer
		write(&buf)
		b.SetBytes(n * 100)
		for range b.N {
			r := NewRunReader(bytes.NewReader(buf.Bytes()), nil)
			for r.Next() {
			}
			if r.Err() != nil {
				b.Fatal(r.Err())
			}
		}
	})
}

func FuzzParseTable(f *testing.F) {
	f.Add(AppendTable(nil, []Section{{Length: 50, Records: 2, Emitted: 3, Block: 9}, {Partition: 2, Offset: 50, Length: 50, Records: 1, Emitted: 1}}), 3, int64(100))
	f.Fuzz(func(t *testing.T, table []byte, partitions int, size int64) {
		sections, err := ParseTable(table, partitions, size)
		if err != nil {
			if !errors.Is(err, ErrCorrupt) {
				t.Errorf("%v, want ErrCorrupt", err)
			}
			return
		}
		if !bytes.Equal(AppendTable(nil, sections), table) {
			t.Error("a table that was taken is another when it is written again")
		}
		for _, s := range sections {
			if s.Partition < 0 || s.Partition >= partitions || s.Offset+s.Length > size {
				t.Errorf("%+v was taken, of %d partitions in %d bytes", s, partitions, size)
			}
		}
	})
}
