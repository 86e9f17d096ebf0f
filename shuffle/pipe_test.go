package shuffle_test

import (
	"context"
	"errors"
	"io"
	"os"
	"os/exec"
	"testing"

	"go.uber.org/goleak"

	"github.com/millrace/millrace/shuffle"
	"github.com/millrace/millrace/shuffle/shuffletest"
)

func TestMain(m *testing.M) {
	if os.Getenv("SHUFFLE_TEST_WRITER") != "" {
		writeAndVanish()
	}
	goleak.VerifyTestMain(m)
}

func openMem(testing.TB) (shuffle.PipeWriter, shuffle.PipeReader) { return shuffle.NewMemPipe(0) }

func openUnix(t testing.TB) (shuffle.PipeWriter, shuffle.PipeReader) {
	wf, rf, err := shuffle.SocketPair()
	if err != nil {
		t.Fatal(err)
	}
	w, err := shuffle.NewUnixWriter(wf)
	if err != nil {
		t.Fatal(err)
	}
	r, err := shuffle.NewUnixReader(rf)
	if err != nil {
		t.Fatal(err)
	}
	return w, r
}

func TestMemPipe(t *testing.T) { shuffletest.TestPipe(t, openMem) }
func TestTinyPipe(t *testing.T) {
	shuffletest.TestPipe(t, func(testing.TB) (shuffle.PipeWriter, shuffle.PipeReader) { return shuffle.NewMemPipe(1001) })
}

func TestUnixPipe(t *testing.T) {
	t.Parallel()
	shuffletest.TestPipe(t, openUnix)
}

// writeAndVanish is another process that has the writing end and dies.
func writeAndVanish() {
	w, err := shuffle.NewUnixWriter(os.NewFile(3, "netpipe"))
	if err == nil {
		err = w.Open(context.Background())
	}
	if err == nil {
		_, err = w.Write([]byte("from another process"))
	}
	if err == nil && os.Getenv("SHUFFLE_TEST_WRITER") == "close" {
		err = w.Close()
	}
	if err != nil {
		os.Stderr.WriteString(err.Error() + "\n")
		os.Exit(1)
	}
	os.Exit(0)
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

func BenchmarkNetpipe(b *testing.B) {
	for name, open := range map[string]shuffletest.Opener{"mem": openMem, "unix": openUnix} {
		b.Run(name, func(b *testing.B) {
			w, r := open(b)
			done := make(chan error, 1)
			go func() {
				err := r.Open(context.Background())
				if err == nil {
					_, err = io.CopyBuffer(onlyWriter{io.Discard}, onlyReader{r}, make([]byte, 64<<10))
				}
				done <- err
			}()
			if err := w.Open(context.Background()); err != nil {
				b.Fatal(err)
			}
			block := make([]byte, 256<<10)
			b.SetBytes(int64(len(block)))
			b.ResetTimer()
			for range b.N {
				if _, err := w.Write(block); err != nil {
					b.Fatal(err)
				}
			}
			w.Close()
			if err := <-done; err != nil {
				b.Fatal(err)
			}
			r.Close()
		})
	}
}

type onlyWriter struct{ io.Writer }
type onlyReader struct{ io.Reader }
