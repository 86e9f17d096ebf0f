package job

import (
	"bytes"
	"errors"
	"io"
	"os"

	"github.com/millrace/millrace/internal/guest"
	"github.com/millrace/millrace/mapper"
)

// Main runs j and ends the process; a program's main function calls it and nothing else. Inside a runner it does what the
// runner wants. Anywhere else it replaces itself by "millrace run" with this program and the user's arguments, where millrace is
// found beside the program or in PATH.
//
// Inside a runner os.Stdout belongs to the protocol: what the program prints goes to its log instead.
func Main(j *Job) {
	if os.Getenv(guest.EnvABI) != guest.ABI {
		// Only an error comes back.
		os.Stderr.WriteString(execMillrace().Error() + "\n")
		os.Exit(2)
	}
	stdin, stdout := streams()
	os.Stdout = os.Stderr
	if err := j.serve(guest.Mode(os.Getenv(guest.EnvMode)), stdin, stdout); err != nil {
		os.Stderr.WriteString(err.Error() + "\n")
		os.Exit(1)
	}
	exit()
}

// inlineObject is the size up to which an object that is in the runner's memory is given to the mapper as Data, too.
const inlineObject = 1 << 20

// serve speaks the guest's side of the protocol. Errors are of the streams and of the job as a whole, not of objects.
func (j *Job) serve(mode guest.Mode, stdin io.Reader, stdout io.Writer) error {
	if j.err != nil {
		return j.err
	}
	switch mode {
	case guest.Describe:
		_, err := io.WriteString(stdout, j.desc.String())
		return err
	case guest.Map:
		return j.serveMap(stdin, stdout)
	case guest.Reduce:
		return j.serveReduce(stdin, stdout)
	}
	return errors.New("unknown mode in " + guest.EnvMode)
}

func (j *Job) serveMap(stdin io.Reader, stdout io.Writer) error {
	out := guest.NewAnswers(stdout)
	in := guest.NewObjects(stdin, out)
	memory, err := shared()
	if err != nil {
		return err
	}
	in.Share(memory)
	once := os.Getenv(guest.EnvOnce) != ""
	warm()
	for {
		// What an object needs is made before it is asked for: where a runner takes a snapshot there, it is made once for all.
		obj, data := new(mapper.Object), new(bytes.Reader)
		run := j.begin(out)
		m, err := in.Next()
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
		*obj = mapper.Object{
			Key: m.Key, URI: m.URI, Size: m.Size, ETag: m.ETag, Modified: m.Modified, Params: in.Params(), Body: in, Counter: out.Count,
		}
		if obj.Data, err = in.Inline(inlineObject); err != nil {
			return err
		}
		if obj.Data != nil {
			data.Reset(obj.Data)
			obj.Body = data
		}
		if err := answer(out, run(obj)); err != nil {
			return err
		}
		if once {
			return out.Flush()
		}
	}
}

func (j *Job) serveReduce(stdin io.Reader, stdout io.Writer) error {
	in, err := guest.NewRecords(stdin)
	if err != nil {
		return err
	}
	out := guest.NewAnswers(stdout)
	return first(answer(out, j.Reduce(in.Next, out.Record)), out.Flush())
}

// answer ends the replies for an object whose mapping, or the work whose reduction, returned err.
func answer(out *guest.Answers, err error) error {
	if err == nil {
		return out.OK()
	}
	var p *PanicError
	if errors.As(err, &p) {
		os.Stderr.WriteString(p.Stack)
	}
	return out.Fail(err.Error())
}
