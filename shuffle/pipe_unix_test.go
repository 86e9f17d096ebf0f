package shuffle

import (
	"bytes"
	"context"
	"errors"
	"hash/crc32"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"slices"
	"testing"
	"time"
)

// recorded returns the bytes that a writer sends for some writes.
func recorded(t testing.TB, how func(w PipeWriter) error) []byte {
	wf, rf, err := SocketPair()
	if err != nil {
		t.Fatal(err)
	}
	defer rf.Close()
	if _, err := rf.Write(helloFrame()); err != nil {
		t.Fatal(err)
	}
	w, err := NewUnixWriter(wf)
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- errors.Join(w.Open(context.Background()), how(w)) }()
	data, err := io.ReadAll(rf)
	if err = errors.Join(err, <-done); err != nil {
		t.Fatal(err)
	}
	return data
}

// helloFrame is what a reader says first.
func helloFrame() []byte {
	hello := progress{0, 1 << 20}.append(make([]byte, frameHeader))
	readerFrames.sealFrame(hello, byte(Hello), 0)
	return hello
}

// replay returns what a reader makes of bytes that a peer sends before it goes.
func replay(t testing.TB, data []byte) ([]byte, error) {
	wf, rf, err := SocketPair()
	if err != nil {
		t.Fatal(err)
	}
	r, err := NewUnixReader(rf)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if err := r.Open(context.Background()); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(wf, make([]byte, frameHeader+ackSize)); err != nil {
		t.Fatal(err)
	}
	go func() {
		wf.Write(data)
		wf.Close()
	}()
	var got bytes.Buffer
	_, err = got.ReadFrom(r)
	if err == nil {
		err = io.EOF // what ReadFrom does not return
	}
	return got.Bytes(), err
}

func hi(w PipeWriter) error {
	w.Write([]byte("hello, "))
	w.Write([]byte("world"))
	return w.Close()
}

func TestChangedBytesAreFound(t *testing.T) {
	data := recorded(t, hi)
	if got, err := replay(t, data); string(got) != "hello, world" || err != io.EOF {
		t.Fatalf("unchanged: got %q, %v", got, err)
	}
	for i := range data {
		for bit := range 8 {
			bad := bytes.Clone(data)
			bad[i] ^= 1 << bit
			got, err := replay(t, bad)
			found := errors.Is(err, ErrCorrupt) || errors.Is(err, io.ErrUnexpectedEOF) // a length that grew
			if !found || !bytes.HasPrefix([]byte("hello, world"), got) {
				t.Fatalf("bit %d of byte %d flipped: got %q, %v", bit, i, got, err)
			}
		}
	}
}

// reread returns what a reader makes of bytes that lie in memory.
func reread(data []byte) ([]byte, error) {
	r := NewPipeReader(newSource(func(context.Context) (receiver, io.Closer, error) {
		in := &frameReader{framing: writerFrames, r: bytes.NewReader(data)}
		return func() (Kind, []byte, uint32, error) {
			kind, payload, err := in.next()
			return Kind(kind), payload, in.sum, err
		}, io.NopCloser(nil), nil
	}), nil)
	if err := r.Open(context.Background()); err != nil {
		return nil, err
	}
	defer r.Close()
	got := make([]byte, 0, len(data)+1)
	for {
		n, err := r.Read(got[len(got):cap(got)])
		got = got[:len(got)+n]
		if err != nil {
			return got, err
		}
	}
}

func TestHundredThousandFlippedBits(t *testing.T) {
	want := bytes.Repeat([]byte("the quick brown fox "), 15)
	data := recorded(t, func(w PipeWriter) error {
		for _, n := range []int{1, 99, 200} {
			w.Write(want[:n])
		}
		return w.Close()
	})
	want = append(append(bytes.Clone(want[:1]), want[:99]...), want[:200]...)
	if got, err := reread(data); !bytes.Equal(got, want) || err != io.EOF {
		t.Fatalf("unchanged: got %q, %v", got, err)
	}
	rnd := rand.New(rand.NewPCG(1, 2))
	bad := make([]byte, len(data))
	flips := 100_000
	if testing.Short() {
		flips = 5_000
	}
	for range flips {
		at, bit := rnd.IntN(len(data)), rnd.IntN(8)
		copy(bad, data)
		bad[at] ^= 1 << bit
		got, err := reread(bad)
		if !errors.Is(err, ErrCorrupt) && !errors.Is(err, io.ErrUnexpectedEOF) || !bytes.HasPrefix(want, got) {
			t.Fatalf("bit %d of byte %d flipped: got %q, %v", bit, at, got, err)
		}
	}
}

func TestCutStreamsAreFound(t *testing.T) {
	for name, how := range map[string]func(PipeWriter) error{
		"close": hi,
		"abort": func(w PipeWriter) error { w.Write([]byte("hello, world")); return w.Abort("reason") },
	} {
		data := recorded(t, how)
		for i := range data {
			got, err := replay(t, data[:i])
			if !errors.Is(err, io.ErrUnexpectedEOF) || !bytes.HasPrefix([]byte("hello, world"), got) {
				t.Fatalf("%s: cut to %d of %d bytes: got %q, %v", name, i, len(data), got, err)
			}
		}
	}
}

func TestPipeFramesOutOfPlace(t *testing.T) {
	fs := frames(recorded(t, hi))
	resealed := func(frame []byte, seq uint32) []byte {
		f := bytes.Clone(frame)
		writerFrames.sealFrame(f, f[3], seq)
		return f
	}
	for name, bad := range map[string][][]byte{
		"reordered":        {fs[1], fs[0], fs[2]},
		"duplicate":        {fs[0], fs[0], fs[1], fs[2]},
		"missing":          {fs[0], fs[2]},
		"an end too early": {fs[0], resealed(fs[2], 1)},
		"a hello":          {helloFrame(), fs[0]},
		"other data":       {fs[1], fs[1]},
		"a resealed swap":  {resealed(fs[1], 0), resealed(fs[0], 1), fs[2]},
	} {
		if got, err := replay(t, bytes.Join(bad, nil)); !errors.Is(err, ErrCorrupt) {
			t.Errorf("%s: got %q, %v; want ErrCorrupt", name, got, err)
		}
	}
}

func TestWriterWantsHello(t *testing.T) {
	for name, said := range map[string][]byte{
		"noise":       bytes.Repeat([]byte("x"), 100),
		"another one": recorded(t, hi),
	} {
		wf, rf, err := SocketPair()
		if err != nil {
			t.Fatal(err)
		}
		rf.Write(said)
		w, err := NewUnixWriter(wf)
		if err != nil {
			t.Fatal(err)
		}
		if err := w.Open(t.Context()); !errors.Is(err, ErrCorrupt) {
			t.Errorf("%s: Open: %v, want ErrCorrupt", name, err)
		}
		if err := w.Close(); !errors.Is(err, ErrCorrupt) {
			t.Errorf("%s: Close: %v, want ErrCorrupt", name, err)
		}
		rf.Close()
	}
}

func TestAbortInterruptsClose(t *testing.T) {
	wf, rf, err := SocketPair()
	if err != nil {
		t.Fatal(err)
	}
	w, err := NewUnixWriter(wf)
	if err != nil {
		t.Fatal(err)
	}
	r, err := NewUnixReader(rf)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	r.Open(t.Context())
	if err := w.Open(t.Context()); err != nil {
		t.Fatal(err)
	}
	full := w.(*pipeWriter)
	for { // until a frame does not fit whole any more
		full.writing.Lock()
		full.link.SetSendDeadline(soonest())
		piece := make([]byte, 10)
		sum := crc32.Checksum(piece, castagnoli)
		err := full.send(Data, piece, sum)
		full.total.add(Data, len(piece), sum)
		full.link.SetSendDeadline(never())
		full.writing.Unlock()
		if err != nil {
			break
		}
	}
	full.mu.Lock()
	full.err = nil // as if nobody had noticed
	full.mu.Unlock()
	closed := make(chan error, 1)
	go func() { closed <- w.Close() }()
	for { // Close is at its END
		full.mu.Lock()
		ending := full.ending
		full.mu.Unlock()
		if ending {
			break
		}
	}
	if err := w.Abort("enough"); err != nil {
		t.Errorf("abort: %v", err)
	}
	if err := <-closed; !errors.Is(err, ErrAborted) {
		t.Errorf("close: %v, want ErrAborted", err)
	}
	if _, err := io.Copy(io.Discard, onlyRead{r}); err == nil {
		t.Error("the reader got an end, want an error")
	}
}

type onlyRead struct{ io.Reader }

func TestNetpipeOverAnySocket(t *testing.T) {
	if _, err := NewUnixReader(os.NewFile(^uintptr(0), "none")); err == nil {
		t.Error("a file without descriptor was taken")
	}
	l, err := net.Listen("unix", t.TempDir()+"/s")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	c, err := net.Dial("unix", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	s, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	wf, _ := c.(*net.UnixConn).File()
	rf, _ := s.(*net.UnixConn).File()
	w, werr := NewUnixWriter(wf)
	r, rerr := NewUnixReader(rf)
	if werr != nil || rerr != nil {
		t.Fatal(werr, rerr)
	}
	defer r.Close()
	r.Open(t.Context())
	if err := errors.Join(w.Open(t.Context()), hi(w)); err != nil {
		t.Fatal(err)
	}
	if got, err := io.ReadAll(r); string(got) != "hello, world" || err != nil {
		t.Errorf("got %q, %v", got, err)
	}
}

// FuzzPipeReader gives bytes to a reader, from a socket and from memory.
func FuzzPipeReader(f *testing.F) {
	f.Add(recorded(f, hi))
	f.Add(recorded(f, func(w PipeWriter) error { return w.Abort("reason") }))
	f.Fuzz(func(t *testing.T, data []byte) {
		got, err := replay(t, data)
		again, aerr := reread(data)
		if err == nil || len(got) > len(data) || !bytes.Equal(got, again) || (err == io.EOF) != (aerr == io.EOF) {
			t.Errorf("got %d bytes of %d, %v; from memory %d bytes, %v", len(got), len(data), err, len(again), aerr)
		}
	})
}

// FuzzPipeWriter gives bytes to a writer, as if a reader said them.
func FuzzPipeWriter(f *testing.F) {
	ack := progress{0, 2 << 20}.append(make([]byte, frameHeader))
	readerFrames.sealFrame(ack, byte(Ack), 1)
	gone := make([]byte, frameHeader)
	readerFrames.sealFrame(gone, byte(Gone), 2)
	f.Add(slices.Concat(helloFrame(), ack, gone))
	f.Fuzz(func(t *testing.T, data []byte) {
		wf, rf, err := SocketPair()
		if err != nil {
			t.Fatal(err)
		}
		w, err := NewUnixWriter(wf)
		if err != nil {
			t.Fatal(err)
		}
		go func() {
			rf.Write(data)
			rf.Close()
		}()
		_ = w.Open(context.Background())
		n, err := w.Write(make([]byte, 4<<20))
		if err == nil || n > 4<<20 {
			t.Errorf("wrote %d bytes to a reader that has gone, %v", n, err)
		}
		if w.Close() == nil {
			t.Error("closed without an error")
		}
	})
}

func soonest() time.Time { return time.Now().Add(5 * time.Millisecond) }
func never() time.Time   { return time.Time{} }
