package shuffle

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
)

// stream is what WriteSection makes of runs, tagged m-0, m-1, …
func stream(t testing.TB, runs ...*sealed) []byte {
	var buf bytes.Buffer
	for i, run := range runs {
		if err := WriteSection(&buf, fmt.Sprintf("m-%d", i), bytes.NewReader(run.section(0)), run.sections[0]); err != nil {
			t.Fatal(err)
		}
	}
	return buf.Bytes()
}

func expect(runs ...*sealed) map[string]Expect {
	want := map[string]Expect{}
	for i, run := range runs {
		want[fmt.Sprintf("m-%d", i)] = Expect{run.sections[0].Emitted, run.sections[0].Digest}
	}
	return want
}

func intakeRecords(in *Intake) (string, error) {
	m := Merge(in.Runs(), nil)
	var b strings.Builder
	for k, values := range m.Groups() {
		fmt.Fprintf(&b, "%s:", k)
		for v := range values {
			b.Write(v)
		}
	}
	return b.String(), m.Err()
}

func TestIntakeOverANetpipe(t *testing.T) {
	a := seal(t, []record{{"x", "1"}, {"y", "3"}}, &SorterOptions{DigestKey: 7})
	b := seal(t, []record{{"x", "2"}}, &SorterOptions{DigestKey: 7})
	c := seal(t, []record{{"z", "9"}}, &SorterOptions{DigestKey: 7})
	empty := seal(t, nil, &SorterOptions{DigestKey: 7})
	w, r := NewMemPipe(100)
	sent := make(chan error, 1)
	go func() {
		err := w.Open(context.Background())
		if err == nil {
			_, err = w.Write(stream(t, a, b, c, empty))
		}
		sent <- errors.Join(err, w.Close())
	}()
	if err := r.Open(context.Background()); err != nil {
		t.Fatal(err)
	}
	in := NewIntake(&IntakeOptions{DigestKey: 7})
	if err := in.Receive(r); err != nil {
		t.Fatal(err)
	}
	if err := <-sent; err != nil {
		t.Fatal(err)
	}
	want := expect(a, b, c, empty)
	delete(want, "m-2")    // not committed
	want["m-9"] = Expect{} // nothing was emitted, nothing was sent
	held := in.Held()
	if err := in.Select(want); err != nil {
		t.Fatal(err)
	}
	if in.Held() >= held {
		t.Errorf("holds %d bytes, as before a section was dropped", in.Held())
	}
	for range 2 {
		if got, err := intakeRecords(in); got != "x:12y:3" || err != nil {
			t.Errorf("got %q, %v", got, err)
		}
	}
}

func TestSelectNamesTheDifference(t *testing.T) {
	a := seal(t, []record{{"x", "1"}}, nil)
	data := stream(t, a, a)
	for _, tt := range []struct {
		name   string
		change func(map[string]Expect)
		want   string
	}{
		{"missing", func(w map[string]Expect) { w["m-7"] = Expect{1200, 1} }, "section m-7: not received, wanted 1,200 records"},
		{"count", func(w map[string]Expect) { w["m-1"] = Expect{2, 1} }, "section m-1: corrupt: received 1 records with digest "},
		{"digest", func(w map[string]Expect) { w["m-0"] = Expect{1, 1} }, "section m-0: corrupt: received 1 records with digest "},
		{"none", func(w map[string]Expect) { w["m-0"] = Expect{} }, "section m-0: corrupt: received 1 records with digest "},
	} {
		in := NewIntake(nil)
		if err := in.Receive(bytes.NewReader(data)); err != nil {
			t.Fatal(err)
		}
		want := expect(a, a)
		tt.change(want)
		if err := in.Select(want); err == nil || !strings.HasPrefix(err.Error(), tt.want) {
			t.Errorf("%s: got %v, want %s…", tt.name, err, tt.want)
		}
		if err := in.Select(expect(a, a)); err != nil {
			t.Errorf("%s: the right one after it: %v", tt.name, err)
		}
	}
}

func TestSectionsOfOneTagAddUp(t *testing.T) {
	a := seal(t, []record{{"x", "1"}}, nil)
	in := NewIntake(nil)
	for range 2 {
		if err := in.Receive(bytes.NewReader(stream(t, a))); err != nil {
			t.Fatal(err)
		}
	}
	if err := in.Select(expect(a)); !errors.Is(err, ErrCorrupt) {
		t.Errorf("a section that came twice: %v, want ErrCorrupt", err)
	}
	s := a.sections[0]
	if err := in.Select(map[string]Expect{"m-0": {2 * s.Emitted, 2 * s.Digest}}); err != nil {
		t.Error(err)
	}
	if got, err := intakeRecords(in); got != "x:11" || err != nil {
		t.Errorf("got %q, %v", got, err)
	}
}

func TestIntakeBudget(t *testing.T) {
	run := seal(t, randomRecords(seeded(t), 10_000, func() string { return "value" }), nil)
	in := NewIntake(&IntakeOptions{Budget: 2*run.sections[0].Length + 1000})
	err := in.Receive(bytes.NewReader(stream(t, run, run, run)))
	if !errors.Is(err, ErrMemory) || !strings.HasPrefix(err.Error(), "section m-2: shuffle memory limit: ") ||
		!strings.HasSuffix(err.Error(), " held by 30,000 records") {
		t.Errorf("got %v, want ErrMemory at the third section", err)
	}
	// A length that is not true takes nothing.
	lie := stream(t, run)
	var buf bytes.Buffer
	s := run.sections[0]
	s.Length = 1 << 60
	WriteSection(&buf, "m-0", bytes.NewReader(lie), s)
	if err := NewIntake(nil).Receive(&buf); !errors.Is(err, ErrMemory) {
		t.Errorf("a section of 2^60 bytes: %v, want ErrMemory", err)
	}
}

func TestIntakeFindsChanges(t *testing.T) {
	a := seal(t, []record{{"x", "1"}}, nil)
	data := stream(t, a)
	for i := range data {
		bad := bytes.Clone(data)
		bad[i] ^= 0x10
		in := NewIntake(nil)
		err := in.Receive(bytes.NewReader(bad))
		if err == nil {
			_, err = intakeRecords(in)
		}
		if !errors.Is(err, ErrCorrupt) && !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Fatalf("bit flipped in byte %d: %v", i, err)
		}
		if i == 0 {
			continue
		}
		if err := NewIntake(nil).Receive(bytes.NewReader(data[:i])); !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Fatalf("cut to %d bytes: %v, want an unexpected end", i, err)
		}
	}
}

func TestWriteSectionChecks(t *testing.T) {
	a := seal(t, []record{{"x", "1"}}, nil)
	for name, err := range map[string]error{
		"no tag":   WriteSection(io.Discard, "", bytes.NewReader(a.data), a.sections[0]),
		"long tag": WriteSection(io.Discard, strings.Repeat("x", 256), bytes.NewReader(a.data), a.sections[0]),
		"length":   WriteSection(io.Discard, "m", bytes.NewReader(a.data), Section{Length: -1}),
		"short":    WriteSection(io.Discard, "m", bytes.NewReader(a.data[1:]), a.sections[0]),
	} {
		if err == nil {
			t.Errorf("%s: no error", name)
		}
		if name == "short" && !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Errorf("%s: got %v, want an unexpected end", name, err)
		}
	}
}

func FuzzIntake(f *testing.F) {
	a := seal(f, []record{{"x", "1"}}, nil)
	f.Add(stream(f, a, a))
	f.Fuzz(func(t *testing.T, data []byte) {
		in := NewIntake(&IntakeOptions{Budget: 1 << 20})
		in.Receive(bytes.NewReader(data))
		if in.Held() > 1<<20 {
			t.Errorf("holds %d bytes, more than its budget", in.Held())
		}
		intakeRecords(in)
	})
}
