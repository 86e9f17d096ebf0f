package sandboxtest

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/millrace/millrace/sandbox"
)

// A Stream is a channel of a run in a [Jail], and what is at its other end.
type Stream struct {
	Name    string
	Calls   int64
	Bytes   int64
	Reads   bool // the guest reads what follows
	Text    []byte
	Broken  bool // then it fails; else it ends
	Waits   bool // neither: it waits until it is stopped, before it gives or takes anything
	Readers int  // the guest writes to so many
	Gone    int  // bytes after which they are gone; 0: never
}

// A heard is what came of a Stream.
type heard struct {
	Files   [][]byte // by file
	Stopped bool
}

// A stream serves one on the other side.
type stream struct {
	Stream
	stop    chan struct{}
	once    sync.Once
	mu      sync.Mutex
	written [][]byte
	taken   int
}

func (s *stream) channel() sandbox.Channel {
	c := sandbox.Channel{Name: s.Name, Calls: s.Calls, Bytes: s.Bytes, Stop: func() { s.once.Do(func() { close(s.stop) }) }}
	if s.Reads {
		c.In = s
		return c
	}
	for i := range s.Readers + 1 {
		s.written = append(s.written, nil)
		c.Out = append(c.Out, sink{s, i})
	}
	return c
}

func (s *stream) heard() heard {
	h := heard{Files: s.written}
	select {
	case <-s.stop:
		h.Stopped = true
	default:
	}
	return h
}

func (s *stream) Read(p []byte) (int, error) {
	if s.Waits {
		<-s.stop
		return 0, io.ErrClosedPipe
	}
	if len(s.Text) == 0 && s.Broken {
		return 0, ErrStream
	}
	if len(s.Text) == 0 {
		return 0, io.EOF
	}
	n := copy(p, s.Text)
	s.Text = s.Text[n:]
	return n, nil
}

type sink struct {
	s    *stream
	file int
}

func (k sink) Write(p []byte) (int, error) {
	s := k.s
	if s.Waits {
		<-s.stop
		return 0, io.ErrClosedPipe
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.taken += len(p); s.Gone > 0 && s.taken > s.Gone {
		return 0, syscall.EPIPE
	}
	s.written[k.file] = append(s.written[k.file], p...)
	return len(p), nil
}

// ChannelPaths are the files of native guests that the jail of [TestChannels] needs.
func ChannelPaths() (paths []string) {
	for _, name := range []string{"a", "c"} {
		paths = append(paths, sandbox.ChannelFiles(name, true, 0)...)
	}
	return append(paths, sandbox.ChannelFiles("b", false, 3)...)
}

// A channelBehaviour is one thing that every guest does alike with its channels: "a" and "c" to read, "b" to write.
type channelBehaviour struct {
	name  string
	args  string
	limit time.Duration
	in    Stream
	also  *Stream // c
	out   Stream
	want  string // on stdout
	wrote string // to the files of b, behind each other, a | between
	is    error
	says  string
	uses  func(a, b sandbox.ChannelUse) error
	stops bool // a was stopped: nobody reads it any more
}

var channelBehaviours = sync.OnceValue(func() []channelBehaviour {
	long := strings.Repeat("0123456789abcde\n", 1<<16)
	limited := func(path string) string { return "files tiny=" + path + "=100000" }
	return []channelBehaviour{
		{name: "read", args: "files read=/dev/in/a", in: Stream{Text: []byte("one\ntwo\n")}, want: "one\ntwo\nread done\n",
			uses: func(a, _ sandbox.ChannelUse) error {
				if a.Bytes != 8 || a.Calls < 1 {
					return fmt.Errorf("a: %+v", a)
				}
				return nil
			}},
		{name: "read much", args: "files count=/dev/in/a", in: Stream{Text: []byte(long)}, want: "1048576\ncount done\n"},
		{name: "read nothing", args: "files read=/dev/in/a", want: "read done\n"},
		{name: "read one after another", args: "files read=/dev/in/c read=/dev/in/a", in: Stream{Text: []byte("a\n")},
			also: &Stream{Text: []byte("c\n")}, want: "c\nread done\na\nread done\n"},
		{name: "not read", args: "args", in: Stream{Text: []byte(long)}, want: `["guest" "args"]` + "\n"},
		{name: "read in part", args: "files head=/dev/in/a", in: Stream{Text: []byte(long)}, want: "0123456789abcde\nhead done\n", stops: true},
		{name: "read twice", args: "files read=/dev/in/a read=/dev/in/a", in: Stream{Text: []byte("a\n")}, want: "a\nread done\nread forbidden\n"},
		{name: "read again in the next run", args: "files read=/dev/in/a", in: Stream{Text: []byte("a\n")}, want: "a\nread done\n"},
		{name: "no end that is none", args: "files read=/dev/in/a stat=/", in: Stream{Text: []byte("a\n"), Broken: true}, is: ErrStream, says: "channel a: stream broke"},
		{name: "write", args: "files put=/dev/out/b=one/two/", want: "put done\n", wrote: "one\ntwo\n|||",
			uses: func(_, b sandbox.ChannelUse) error {
				if b.Bytes != 8 || b.Calls < 1 {
					return fmt.Errorf("b: %+v", b)
				}
				return nil
			}},
		{name: "write as shells do", args: "files put=/dev/out/b=one/ put=/dev/out/b=two/ create=/dev/out/b=three/", want: "put done\nput done\ncreate done\n", wrote: "one\ntwo\nthree\n|||"},
		{name: "write to one reader", args: "files put=/dev/out/b.0=zero/ put=/dev/out/b.2=two/", want: "put done\nput done\n", wrote: "|zero\n||two\n"},
		{name: "write and hold", args: "files keep=/dev/in/a put=/dev/out/b=one/", want: "keep done\nput done\n", wrote: "one\n|||"},
		{name: "nobody reads", args: "files fill=/dev/out/b=1000 stat=/dev/out/b", out: Stream{Gone: 100000}, want: "fill nobody reads\nstat done\n", wrote: "*"},
		{name: "write again in the next run", args: "files put=/dev/out/b=one/", want: "put done\n", wrote: "one\n|||"},
		{name: "tiny writes", args: "files tiny=/dev/out/b=100000", want: "tiny done\n", wrote: strings.Repeat("x\n", 100000) + "|||"},
		{name: "channels that are not there", args: "files read=/dev/in/x put=/dev/out/x=1 create=/dev/out/x=1 create=/dev/in/x=1 put=/dev/out/b.3=1 put=/dev/out/a=1",
			want: "read not there\nput not there\ncreate forbidden\ncreate forbidden\nput not there\nput not there\n", wrote: "|||"},
		{name: "the wrong way", args: "files put=/dev/in/a=1 create=/dev/in/a=1 remove=/dev/in/a remove=/dev/out/b stat=/dev/in/a",
			want: "put forbidden\ncreate forbidden\nremove forbidden\nremove forbidden\nstat done\n", wrote: "|||"},
		{name: "limit of bytes written", args: "files fill=/dev/out/b=1000", out: Stream{Bytes: 100 << 10}, wrote: "*", is: sandbox.ErrLimit, says: "channel b limit: more than 100 KiB"},
		{name: "limit of calls that write", args: limited("/dev/out/b"), out: Stream{Calls: 1}, wrote: "*", is: sandbox.ErrLimit, says: "channel b limit: more than 1 call"},
		{name: "limit of bytes over several files", args: "files fill=/dev/out/b.0=1 fill=/dev/out/b.1=1", out: Stream{Bytes: 100 << 10}, wrote: "*", is: sandbox.ErrLimit, says: "channel b limit"},
		{name: "limit of bytes read", args: "files count=/dev/in/a", in: Stream{Bytes: 100 << 10, Text: []byte(long)}, is: sandbox.ErrLimit, says: "channel a limit: more than 100 KiB"},
		{name: "limit of calls that read", args: "files count=/dev/in/a", in: Stream{Calls: 3, Text: []byte(long)}, is: sandbox.ErrLimit, says: "channel a limit: more than 3 calls"},
		{name: "nothing comes", args: "files read=/dev/in/a", limit: 300 * time.Millisecond, in: Stream{Waits: true}, is: sandbox.ErrLimit, says: "guest wall clock limit: 300ms"},
		{name: "nobody takes it", args: "files fill=/dev/out/b=100", limit: 300 * time.Millisecond, out: Stream{Waits: true}, wrote: "*", is: sandbox.ErrLimit, says: "guest wall clock limit: 300ms"},
		{name: "many files", args: "files" + strings.Repeat(" put=/dev/out/b=x/", 500), want: strings.Repeat("put done\n", 500), wrote: strings.Repeat("x\n", 500) + "|||"},
		{name: "and after all that", args: "files read=/dev/in/a put=/dev/out/b=one/", in: Stream{Text: []byte("a\n")}, want: "a\nread done\nput done\n", wrote: "one\n|||"},
	}
})

// TestChannels runs what every guest must do that has channels, in a jail that has ChannelPaths.
func TestChannels(t *testing.T, j *Jail) {
	for _, b := range channelBehaviours() {
		t.Run(b.name, func(t *testing.T) {
			a, c, out := b.in, Stream{}, b.out
			if b.also != nil {
				c = *b.also
			}
			a.Name, a.Reads = "a", true
			c.Name, c.Reads = "c", true
			out.Name, out.Readers = "b", 3
			var stdout bytes.Buffer
			run := &sandbox.Run{Args: strings.Fields(b.args), Limits: sandbox.Limits{Wall: b.limit}, Streams: sandbox.Streams{Stdin: strings.NewReader(""), Stdout: &stdout}}
			begin := time.Now()
			report, heard, err := j.RunStreams(context.Background(), run, []Stream{a, c, out})
			switch {
			case b.is == nil && err != nil:
				t.Fatalf("error %v", err)
			case b.is != nil && !errors.Is(err, b.is):
				t.Fatalf("error %v; want %v", err, b.is)
			case b.is != nil && !strings.Contains(err.Error(), b.says):
				t.Errorf("error %q; want %q in it", err, b.says)
			case b.is == nil && stdout.String() != b.want:
				t.Errorf("stdout %.200q; want %.200q", stdout.String(), b.want)
			}
			checkEnd(t, time.Since(begin), run.Limits)
			if len(heard) != 3 || len(report.Channels) != 3 {
				t.Fatalf("heard of %d channels, report of %d", len(heard), len(report.Channels))
			}
			if got := string(bytes.Join(heard[2].Files, []byte("|"))); b.wrote != "*" && got != cmp.Or(b.wrote, "|||") {
				t.Errorf("wrote %.200q; want %.200q", got, cmp.Or(b.wrote, "|||"))
			}
			if b.stops && !heard[0].Stopped {
				t.Error("the writer of a does not know that nobody reads it")
			}
			if b.uses != nil {
				if err := b.uses(report.Channels[0], report.Channels[2]); err != nil {
					t.Error(err)
				}
			}
		})
	}
}
