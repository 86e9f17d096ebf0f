package shuffle_test

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"os/exec"
	"testing"

	"go.uber.org/goleak"

	"github.com/millrace/millrace/shuffle"
	"github.com/millrace/millrace/shuffle/shuffletest"
)

func TestMain(m *testing.M) {
	if manner := os.Getenv("SHUFFLE_TEST_WRITER"); manner != "" {
		if err := beWriter(manner); err != nil {
			os.Stderr.WriteString(err.Error() + "\n")
			os.Exit(1)
		}
		os.Exit(0)
	}
	goleak.VerifyTestMain(m)
}

func openMem(_ testing.TB, writers int) ([]shuffle.PipeWriter, shuffle.PipeReader) {
	return memPipe(writers, 0)
}

// memPipe opens the descriptors of a Mem.
func memPipe(writers, window int) (w []shuffle.PipeWriter, r shuffle.PipeReader) {
	var m shuffle.Mem
	wd, rd := m.Make(writers, window)
	for _, d := range wd {
		end, _ := m.Scheme().Writer(d)
		w = append(w, end)
	}
	r, _ = m.Scheme().Reader(rd)
	return w, r
}

func openUnix(t testing.TB, writers int) ([]shuffle.PipeWriter, shuffle.PipeReader) {
	var w []shuffle.PipeWriter
	var sockets []*os.File
	for range writers {
		wf, rf, err := shuffle.SocketPair()
		if err != nil {
			t.Fatal(err)
		}
		end, err := shuffle.NewUnixWriter(wf)
		if err != nil {
			t.Fatal(err)
		}
		w, sockets = append(w, end), append(sockets, rf)
	}
	r, err := shuffle.NewUnixReader(sockets...)
	if err != nil {
		t.Fatal(err)
	}
	return w, r
}

// wireUnix returns a netpipe of two socket pairs with a line between them.
func wireUnix(t testing.TB, l *shuffletest.Line, hurry shuffletest.Timing) (shuffle.PipeWriter, shuffle.PipeReader) {
	o := &shuffle.PipeOptions{Silence: hurry.Silence}
	w, near := halfUnix(t, shuffle.ReaderFrames(), shuffle.WriterFrames())
	r, far := halfUnix(t, shuffle.WriterFrames(), shuffle.ReaderFrames())
	l.Connect(near, far)
	return shuffle.NewPipeWriter(w, o), shuffle.NewPipeReader(r, o)
}

func halfUnix(t testing.TB, in, out *shuffle.Frames) (shuffle.Link, net.Conn) {
	ours, theirs, err := shuffle.SocketPair()
	if err != nil {
		t.Fatal(err)
	}
	c, err := net.FileConn(theirs)
	theirs.Close()
	if err != nil {
		t.Fatal(err)
	}
	l, err := shuffle.UnixLink(ours, in, out)
	if err != nil {
		t.Fatal(err)
	}
	return l, c
}

func TestMemPipe(t *testing.T) {
	t.Parallel()
	shuffletest.TestPipe(t, shuffletest.Transport{Open: openMem})
}

func TestTinyPipe(t *testing.T) {
	t.Parallel()
	shuffletest.TestPipe(t, shuffletest.Transport{Open: func(_ testing.TB, writers int) ([]shuffle.PipeWriter, shuffle.PipeReader) {
		return memPipe(writers, 1001)
	}})
}

func TestUnixPipe(t *testing.T) {
	t.Parallel()
	shuffletest.TestPipe(t, shuffletest.Transport{Open: openUnix, Wire: wireUnix})
}

// beWriter is another process, which has the writing end.
func beWriter(manner string) error {
	if manner == "netpipe" || manner == "raw" {
		return writeBlocks(manner)
	}
	w, err := shuffle.Schemes{"unix": shuffle.UnixScheme}.OpenWriter(context.Background(), "unix:3")
	if err != nil {
		return err
	}
	if _, err := w.Write([]byte("from another process")); err != nil {
		return err
	}
	if manner == "vanish" {
		return nil
	}
	return w.Close()
}

func TestWriterInAnotherProcess(t *testing.T) {
	for how, want := range map[string]error{"close": nil, "vanish": io.ErrUnexpectedEOF} {
		t.Run(how, func(t *testing.T) {
			wf, rf, err := shuffle.SocketPair()
			if err != nil {
				t.Fatal(err)
			}
			r, err := shuffle.NewUnixReader(rf)
			if err != nil {
				t.Fatal(err)
			}
			defer r.Close()
			cmd := exec.Command(os.Args[0])
			cmd.Env = append(os.Environ(), "SHUFFLE_TEST_WRITER="+how, "GORACE=atexit_sleep_ms=0")
			cmd.ExtraFiles = []*os.File{wf}
			cmd.Stderr = os.Stderr
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			wf.Close()
			if err := r.Open(t.Context()); err != nil {
				t.Fatal(err)
			}
			got, err := io.ReadAll(r)
			if string(got) != "from another process" || !errors.Is(err, want) {
				t.Errorf("got %q, %v; want %v", got, err, want)
			}
			if err := cmd.Wait(); err != nil {
				t.Error(err)
			}
		})
	}
}
