package job_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/millrace/millrace/internal/guest"
	"github.com/millrace/millrace/job"
	"github.com/millrace/millrace/mapper"
	"github.com/millrace/millrace/reducer"
)

// The test binary is a guest where the environment says so.
func TestMain(m *testing.M) {
	switch os.Getenv("JOB_TEST_GUEST") {
	case "words":
		job.Main(job.MapReduce(guestWords, reducer.Sum[int64]()))
	case "lengths":
		job.Main(lengths())
	case "untyped":
		job.Main(job.MapReduce(func(*mapper.Object, func(string, error)) error { return nil }, reducer.Identity[error]()))
	}
	os.Exit(m.Run())
}

// guestWords is words with ways to fail.
func guestWords(obj *mapper.Object, emit func(string, int64)) error {
	fmt.Println("this goes to the log")
	obj.Count("objects of "+obj.Param("who"), 1)
	switch obj.Key {
	case "bad":
		emit("x", 1)
		return errors.New("bad header")
	case "panic":
		panic("at the mill")
	case "exit":
		emit("x", 1)
		os.Exit(0)
	}
	if (obj.Data != nil) != (obj.Size == 5) {
		return fmt.Errorf("object of %d bytes: data of %d bytes", obj.Size, len(obj.Data))
	}
	return words(obj, emit)
}

// answers is a guest.Handler that keeps what it is told.
type answers struct {
	output
	ends []string
}

// Records writes down what came together with how many there were of it.
func (a *answers) Records(key, value []byte, n int64) error {
	if n > 1 {
		value = fmt.Appendf(nil, "%d×%s", n, value)
	}
	return a.Record(key, value)
}

func (a *answers) OK()                { a.ends = append(a.ends, "OK") }
func (a *answers) Fail(reason string) { a.ends = append(a.ends, reason) }

// guestRun runs the test binary as a guest and returns its stdout and stderr.
func guestRun(t *testing.T, program string, mode guest.Mode, stdin io.Reader, env ...string) (string, string, error) {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	var stdout, stderr bytes.Buffer
	cmd := exec.Command(self)
	cmd.Env = append(guest.Env(mode), "JOB_TEST_GUEST="+program, "GOCOVERDIR="+t.TempDir())
	cmd.Env = append(cmd.Env, env...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = stdin, &stdout, &stderr
	err = cmd.Run()
	return stdout.String(), stderr.String(), err
}

func TestGuestDescribe(t *testing.T) {
	out, _, err := guestRun(t, "words", guest.Describe, nil)
	if err != nil {
		t.Fatal(err)
	}
	want := guest.Description{ABI: guest.ABI, Key: guest.String, Acc: guest.Binary, Result: guest.Int, Stock: "sum:int64"}
	if d, err := guest.ParseDescription([]byte(out)); err != nil || d != want {
		t.Errorf("got %+v, %v; want %+v", d, err, want)
	}
	out, log, err := guestRun(t, "untyped", guest.Describe, nil)
	if want := "value: an interface cannot be encoded: use a concrete type\n"; err == nil || out != "" || log != want {
		t.Errorf("got %q, %q, %v; want %q", out, log, err, want)
	}
}

// A guest that is told that there is one object maps one, and leaves alone what follows.
func TestGuestMapOnce(t *testing.T) {
	stdin := io.MultiReader(
		guest.ObjectStream(nil, &guest.Meta{Key: "a", Size: 5}, nil, []byte("a b a")),
		strings.NewReader("no object"),
	)
	out, log, err := guestRun(t, "words", guest.Map, stdin, guest.EnvOnce+"=1")
	if err != nil {
		t.Fatal(err, log)
	}
	var a answers
	r := guest.NewReplies(&a, 1, guest.Bounds{})
	if _, err := io.WriteString(r, out); err != nil || r.Close() != nil || len(a.records) != 3 {
		t.Errorf("got %v, %v, %v", a.records, err, r.Close())
	}
}

func TestGuestMap(t *testing.T) {
	params, err := guest.EncodeParams(map[string]string{"who": "anna"})
	if err != nil {
		t.Fatal(err)
	}
	long := strings.Repeat("mill ", 300_000)
	stdin := io.MultiReader(
		guest.ObjectStream(params, &guest.Meta{Key: "a", Size: 5}, nil, []byte("a b a")),
		guest.ObjectStream(nil, &guest.Meta{Key: "bad", Size: -1}, strings.NewReader("unread"), nil),
		guest.ObjectStream(nil, &guest.Meta{Key: "panic", Size: -1}, strings.NewReader(long), nil),
		guest.ObjectStream(nil, &guest.Meta{Key: "long", Size: int64(len(long))}, strings.NewReader(long), nil),
	)
	out, log, err := guestRun(t, "words", guest.Map, stdin)
	if err != nil {
		t.Fatal(err, log)
	}
	var a answers
	r := guest.NewReplies(&a, 4, guest.Bounds{})
	if _, err := io.WriteString(r, out); err != nil {
		t.Fatal(err)
	}
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	if got, want := strings.Join(a.ends, ", "), "OK, bad header, panic: at the mill, OK"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	if len(a.records) != 3+1+300_000 || a.records[0] != [2]string{"a", "\x02"} {
		t.Errorf("got %d records, first %q", len(a.records), a.records[0])
	}
	if a.counts["objects of anna"] != 4 {
		t.Errorf("got counts %v", a.counts)
	}
	if !strings.Contains(log, "this goes to the log") || !strings.Contains(log, "main_test.go") {
		t.Errorf("log without what was printed or where it panicked: %s", log)
	}
}

func TestGuestBreaks(t *testing.T) {
	out, _, err := guestRun(t, "words", guest.Map, guest.ObjectStream(nil, &guest.Meta{Key: "exit"}, nil, nil))
	if err != nil {
		t.Fatal(err)
	}
	r := guest.NewReplies(new(answers), 1, guest.Bounds{})
	io.WriteString(r, out)
	if err := r.Close(); !errors.Is(err, guest.ErrProtocol) {
		t.Errorf("a guest that exits early: got %v", err)
	}
	for _, tt := range []struct {
		mode       guest.Mode
		stdin, log string
	}{
		{guest.Map, "nonsense", "guest protocol: no object where one must begin\n"},
		{guest.Reduce, "", "guest protocol: stream is cut short\n"},
		{"sing", "", "unknown mode in MILLRACE_MODE\n"},
	} {
		out, log, err := guestRun(t, "words", tt.mode, strings.NewReader(tt.stdin))
		if err == nil || out != "" || log != tt.log {
			t.Errorf("%s: got %q, %q, %v; want %q", tt.mode, out, log, err, tt.log)
		}
	}
}

func TestGuestReduce(t *testing.T) {
	var mapped output
	if err := lengths().Map(object("aa b accc"), &mapped); err != nil {
		t.Fatal(err)
	}
	if err := lengths().Map(object("a bbb"), &mapped); err != nil {
		t.Fatal(err)
	}
	out, log, err := guestRun(t, "lengths", guest.Reduce, guest.RecordStream(nil, mapped.next()))
	if err != nil {
		t.Fatal(err, log)
	}
	var a answers
	r := guest.NewReplies(&a, 1, guest.Bounds{})
	io.WriteString(r, out)
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	if got, want := fmt.Sprint(a.records, a.ends), "[[a 1-4] [b 1-3]] [OK]"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

func TestMainRunsMillrace(t *testing.T) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	program := filepath.Join(t.TempDir(), "program")
	if err := os.Link(self, program); err != nil {
		data, err := os.ReadFile(self)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(program, data, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	start := func(path string) (string, error) {
		cmd := exec.Command(program, "-i", "file:///mail", "-o", "out put")
		cmd.Env = []string{"JOB_TEST_GUEST=words", "PATH=" + path, "GOCOVERDIR=" + t.TempDir()}
		out, err := cmd.CombinedOutput()
		return string(out), err
	}
	out, err := start("/nonexistent")
	if want := "millrace is needed to run program, but is neither beside it nor in PATH\n"; out != want || cmdExit(err) != 2 {
		t.Errorf("without millrace: got %q, %v; want %q", out, err, want)
	}
	script := []byte("#!/bin/sh\nprintf '<%s>' \"$(basename \"$0\")\" \"$@\"\n")
	inPath := t.TempDir()
	if err := os.WriteFile(filepath.Join(inPath, "millrace"), script, 0o755); err != nil {
		t.Fatal(err)
	}
	want := "<millrace><run><" + program + "><-i><file:///mail><-o><out put>"
	if out, err := start(inPath + ":/usr/bin:/bin"); out != want || err != nil {
		t.Errorf("in PATH: got %q, %v; want %q", out, err, want)
	}
	beside := bytes.Replace(script, []byte("<%s>"), []byte("[%s]"), 1)
	if err := os.WriteFile(filepath.Join(filepath.Dir(program), "millrace"), beside, 0o755); err != nil {
		t.Fatal(err)
	}
	want = strings.NewReplacer("<", "[", ">", "]").Replace(want)
	if out, err := start(inPath + ":/usr/bin:/bin"); out != want || err != nil {
		t.Errorf("beside: got %q, %v; want %q", out, err, want)
	}
}

func cmdExit(err error) int {
	var ee *exec.ExitError
	if errors.As(err, &ee) {
		return ee.ExitCode()
	}
	return 0
}

// A guest must stay small: it travels to every node, and is compiled there.
func TestGuestSize(t *testing.T) {
	const most = 3_000_000
	module := filepath.Join(t.TempDir(), "wordcount.wasm")
	cmd := exec.Command("go", "build", "-o", module, "../examples/wordcount")
	cmd.Env = append(os.Environ(), "GOOS=wasip1", "GOARCH=wasm")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	code, err := os.ReadFile(module)
	if err != nil {
		t.Fatal(err)
	}
	if len(code) > most {
		t.Errorf("word count takes %d bytes, more than %d", len(code), most)
	}
	if !bytes.Contains(code, []byte(guest.ABI)) {
		t.Error("the ABI's marker is not in the module")
	}
}
