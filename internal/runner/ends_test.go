package runner

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/millrace/millrace/job"
	"github.com/millrace/millrace/sandbox"
	"github.com/millrace/millrace/shuffle"
)

// A spread is what a member writes to a channel, and those who read it.
type spread struct {
	*ends
	readers []shuffle.PipeReader
}

// newSpread returns the only member of a group that writes to so many.
func newSpread(t *testing.T, maps bool, readers int) *spread {
	t.Helper()
	h := &Hello{Engine: job.Wasm, Limits: job.Limits{Output: 1 << 20},
		Member: &Member{Group: "g", Of: 1, Maps: maps, Channels: []ChannelEnd{{Name: "word", Peers: readers}}}}
	s := &spread{ends: newEnds(h)}
	for i := range readers {
		w, r, err := shuffle.SocketPair()
		if err != nil {
			t.Fatal(err)
		}
		if err := s.take(Link{Peer: i}, w); err != nil {
			t.Fatal(err)
		}
		in, err := shuffle.NewUnixReader(r)
		if err == nil {
			err = in.Open(t.Context())
		}
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { in.Close() })
		s.readers = append(s.readers, in)
	}
	if err := s.open(t.Context()); err != nil {
		t.Fatal(err)
	}
	return s
}

// hear returns what the readers read while f writes, and how that ended.
func (s *spread) hear(f func()) (texts []string, errs []error) {
	texts, errs = make([]string, len(s.readers)), make([]error, len(s.readers))
	var wg sync.WaitGroup
	for i, r := range s.readers {
		wg.Go(func() {
			b, err := io.ReadAll(r)
			texts[i], errs[i] = string(b), err
		})
	}
	f()
	wg.Wait()
	return texts, errs
}

func TestLinesAreSpread(t *testing.T) {
	seed := rand.Uint64()
	t.Log("seed", seed)
	rnd := rand.New(rand.NewPCG(seed, 0))
	for _, readers := range []int{1, 2, 5} {
		s := newSpread(t, false, readers)
		s.member.Of = 2 // so that one reader gets lines, too
		for _, x := range s.all {
			x.lines = true
		}
		var text []byte
		want := make([]string, readers)
		for i := range 5000 {
			key := fmt.Sprint("key ", rnd.IntN(100))
			line := key + "\t" + strings.Repeat("x", rnd.IntN(100)) + "\n"
			if i%7 == 0 {
				line = key + "\n"
			}
			text = append(text, line...)
			want[shuffle.Partition([]byte(key), readers)] += line
		}
		text = text[:len(text)-1] // it is given its end
		got, errs := s.hear(func() {
			f := s.all[0].files[0]
			for len(text) > 0 {
				n := min(rnd.IntN(3000), len(text))
				if _, err := f.Write(text[:n]); err != nil {
					t.Error(err)
				}
				text = text[n:]
			}
			if err := s.finish(nil); err != nil {
				t.Error(err)
			}
		})
		for i := range got {
			if got[i] != want[i] || errs[i] != nil {
				t.Errorf("reader %d of %d: %d bytes, %v; want %d", i, readers, len(got[i]), errs[i], len(want[i]))
			}
		}
		if p := s.uses()["word"]; p.WriteBytes != int64(len(strings.Join(want, ""))) {
			t.Errorf("%+v", p)
		}
	}
}

func TestFailedObjectsWriteNothing(t *testing.T) {
	s := newSpread(t, true, 2)
	got, errs := s.hear(func() {
		all, second := s.all[0].files[0], s.all[0].files[2]
		for _, object := range []struct {
			text string
			well bool
		}{{"a\t1\nb", false}, {"c\t1\nd", true}, {"e", false}, {"", true}, {"f\n", true}} {
			s.begin()
			for _, f := range []*endFile{all, second} {
				if _, err := f.Write([]byte(object.text)); err != nil {
					t.Error(err)
				}
			}
			if !object.well {
				continue
			}
			if err := s.letGo(); err != nil {
				t.Error(err)
			}
		}
		s.begin()
		if err := s.finish(nil); err != nil {
			t.Error(err)
		}
	})
	lines := strings.SplitAfter(strings.Join(got, ""), "\n")
	slices.Sort(lines)
	if want := []string{"", "c\t1\n", "c\t1\n", "d\n", "d\n", "f\n", "f\n"}; !slices.Equal(lines, want) || errors.Join(errs...) != nil {
		t.Errorf("got %q, %v", lines, errs)
	}
}

func TestHeldOutputIsLimited(t *testing.T) {
	s := newSpread(t, true, 2)
	f := s.all[0].files[0]
	b := bytes.Repeat([]byte("0123456789abcde\n"), 1<<12)
	for n := 0; ; n++ {
		_, err := f.Write(b)
		if err == nil && n < 17 {
			continue
		}
		if !errors.Is(err, sandbox.ErrLimit) || n != 16 {
			t.Errorf("after %d writes: %v", n, err)
		}
		break
	}
	_, errs := s.hear(func() { _ = s.finish(errors.New("why not")) })
	for _, err := range errs {
		if !errors.Is(err, shuffle.ErrAborted) || !strings.Contains(err.Error(), "why not") {
			t.Errorf("a reader got %v", err)
		}
	}
}

func TestLongLine(t *testing.T) {
	s := newSpread(t, false, 2)
	f := s.all[0].files[0]
	b := make([]byte, 1<<20)
	var err error
	n := 0
	for ; err == nil && n < 100; n++ {
		_, err = f.Write(b)
	}
	if err == nil || !strings.Contains(err.Error(), "a line longer than") || n > maxLine>>20+1 {
		t.Errorf("after %d MiB: %v", n, err)
	}
	_, errs := s.hear(func() { _ = s.finish(err) })
	if !errors.Is(errs[0], shuffle.ErrAborted) {
		t.Errorf("a reader got %v", errs[0])
	}
}

func TestGoneReader(t *testing.T) {
	s := newSpread(t, false, 2)
	s.readers[0].Close()
	_, errs := s.hear(func() {
		f := s.all[0].files[1] // that of the first reader
		var err error
		for n := 0; err == nil && n < 1000; n++ {
			_, err = f.Write(bytes.Repeat([]byte("x\n"), 1<<15))
		}
		if err == nil {
			t.Error("everything was written to nobody")
		}
		var other *otherError
		if err := s.finish(err); !errors.As(err, &other) {
			t.Errorf("got %v, want the other's fault", err)
		}
	})
	if errs[1] == nil {
		t.Error("the other reader saw an end")
	}
}

// The agent's frames are held against what a member has.
func TestLinksAreChecked(t *testing.T) {
	for _, l := range []Link{{Channel: 1}, {Channel: -1}, {Peer: 2}, {Peer: -1}, {}} {
		s := newSpread(t, false, 2)
		w, r, err := shuffle.SocketPair()
		if err != nil {
			t.Fatal(err)
		}
		defer r.Close()
		if err := s.take(l, w); !errors.Is(err, ErrProtocol) {
			t.Errorf("%+v: got %v", l, err)
		}
		_ = s.finish(errors.New("over"))
	}
}
