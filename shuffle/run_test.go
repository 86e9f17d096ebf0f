package shuffle

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
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

func TestRunReaderStopsAtItsEnd(t *testing.T) {
	run := smallRun(t)
	in := bytes.NewReader(append(bytes.Clone(run.data), "more"...))
	if _, err := readAll(in, nil); err != nil || in.Len() != 4 {
		t.Errorf("%v, %d bytes left, want 4", err, in.Len())
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

// frames cuts a section into its frames.
func frames(data []byte) (all [][]byte) {
	for len(data) > 0 {
		n := frameHeader + int(binary.LittleEndian.Uint32(data[8:]))
		all = append(all, data[:n])
		data = data[n:]
	}
	return all
}

// reseal returns a frame with another payload, correct in itself.
func reseal(frame []byte, seq uint32, change func(payload []byte)) []byte {
	f := bytes.Clone(frame)
	change(f[frameHeader:])
	sectionFrames.sealFrame(f, f[3], seq)
	return f
}

func TestFramesOutOfPlace(t *testing.T) {
	big := seal(t, []record{{"a", string(make([]byte, 2<<20))}, {"b", "1"}}, nil)
	fs := frames(big.data)
	if len(fs) < 4 {
		t.Fatalf("got %d frames, want some more", len(fs))
	}
	none := func([]byte) {}
	put := func(at int, v uint64) func([]byte) {
		return func(p []byte) { binary.LittleEndian.PutUint64(p[at:], v) }
	}
	last := len(fs) - 1
	swap := [][]byte{fs[1], fs[0]}
	for name, bad := range map[string][][]byte{
		"reordered":         append(swap, fs[2:]...),
		"duplicate":         append([][]byte{fs[0], fs[0]}, fs[1:]...),
		"missing":           fs[1:],
		"no end":            fs[:last],
		"nothing":           nil,
		"end too early":     {fs[0], reseal(fs[last], 1, none)},
		"end only":          {reseal(fs[last], 0, none)},
		"another count":     append(append([][]byte{}, fs[:last]...), reseal(fs[last], uint32(last), put(0, 3))),
		"another size":      append(append([][]byte{}, fs[:last]...), reseal(fs[last], uint32(last), put(24, 3))),
		"version 2":         {append([]byte("MS\x02"), fs[0][3:]...)},
		"kind 9":            {append([]byte("MS\x01\x09"), fs[0][4:]...)},
		"length 2^31":       {append(append(bytes.Clone(fs[0][:8]), 0, 0, 0, 0x80), fs[0][12:]...)},
		"length of an end":  {append(append(bytes.Clone(fs[last][:8]), 33, 0, 0, 0), fs[last][12:]...)},
		"netpipe's frames":  {append([]byte("MP"), fs[0][2:]...)},
		"a short end":       {shortEnd()},
		"a stream of zeros": {make([]byte, 1000)},
	} {
		if _, err := readAll(bytes.NewReader(bytes.Join(bad, nil)), nil); !errors.Is(err, ErrCorrupt) {
			t.Errorf("%s: got %v, want ErrCorrupt", name, err)
		}
	}
}

func shortEnd() []byte {
	f := make([]byte, frameHeader+8)
	sectionFrames.sealFrame(f, frameEnd, 0)
	return f
}

func TestDigestIsVerified(t *testing.T) {
	run := smallRun(t)
	fs := frames(run.data)
	last := len(fs) - 1
	fs[last] = reseal(fs[last], uint32(last), func(p []byte) { p[16] ^= 1 })
	bad := bytes.Join(fs, nil)
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
		for _, filler := range []int{0, batchRecords - 1} { // also across batches
			var buf bytes.Buffer
			w := newSectionWriter(&buf)
			w.reset()
			for range filler {
				w.add(nil, nil)
			}
			for _, r := range recs {
				w.add([]byte(r.key), []byte(r.value))
			}
			if _, err := w.end(Section{}); err != nil {
				t.Fatal(err)
			}
			if _, err := readAll(&buf, nil); !errors.Is(err, ErrCorrupt) {
				t.Errorf("%s out of order after %d: %v, want ErrCorrupt", name, filler, err)
			}
		}
	}
}

func TestLargestRecord(t *testing.T) {
	var buf bytes.Buffer
	buf.Grow(MaxRecord + 1<<20)
	w := newSectionWriter(&buf)
	w.reset()
	w.add([]byte("key"), make([]byte, MaxRecord-3))
	if _, err := w.end(Section{}); err != nil {
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
	for _, n := range []int{0, 5, 30, len(run.data) - 1} {
		r := io.MultiReader(bytes.NewReader(run.data[:n]), iotest.ErrReader(broken))
		if _, err := readAll(r, nil); !errors.Is(err, broken) || errors.Is(err, ErrCorrupt) {
			t.Errorf("after %d bytes: %v, want the error of the disk", n, err)
		}
	}
}

// FuzzLyingWriter is FuzzRunReader behind the checksums: payloads in frames that are correct.
func FuzzLyingWriter(f *testing.F) {
	fs := frames(seal(f, []record{{"a", "1"}, {"b", "22"}}, nil).data)
	f.Add(fs[0][frameHeader:])
	f.Fuzz(func(t *testing.T, payload []byte) {
		if len(payload) > maxPayload {
			return
		}
		frame := append(make([]byte, frameHeader), payload...)
		sectionFrames.sealFrame(frame, frameData, 0)
		if _, err := readAll(bytes.NewReader(append(frame, fs[1]...)), nil); err != nil && !errors.Is(err, ErrCorrupt) {
			t.Errorf("%v, want ErrCorrupt", err)
		}
	})
}

func FuzzRunReader(f *testing.F) {
	f.Add(smallRun(f).data)
	f.Add(seal(f, nil, nil).data)
	f.Add(shortEnd())
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
	run := seal(t, []record{{"a", "1"}, {"b", "22"}, {"c", ""}}, nil)
	fs := frames(run.data)
	for i := range len(fs[0]) - frameHeader {
		for _, flip := range []byte{0x01, 0x10, 0x80, 0xff} {
			bad := reseal(fs[0], 0, func(p []byte) { p[i] ^= flip })
			recs, err := readAll(bytes.NewReader(append(bad, fs[1]...)), nil)
			if err == nil && len(recs) != 3 {
				t.Fatalf("byte %d ^ %#x: got %d records and no error", i, flip, len(recs))
			}
			if err != nil && !errors.Is(err, ErrCorrupt) {
				t.Fatalf("byte %d ^ %#x: %v, want ErrCorrupt", i, flip, err)
			}
		}
	}
}
