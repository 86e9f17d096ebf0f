// Package commit makes the output of a job visible: all of it, once, or nothing.
//
// Output parts are first uploaded as pending objects, invisible. When all tasks are done the coordinator writes the
// decision. Before it a job can end at any point and leaves nothing outside OUTPUT/_millrace/; after it a job only
// goes forward: whoever finds a decision finishes it. The promise is to readers of the manifest, which is written
// when all parts that it names are visible.
//
// What lies in an output:
//
//	part-r-00000 …, part-m-00000 …      what the job published
//	_failed/part-00000.jsonl …          objects that it could not map
//	_manifest.json                      a job.Manifest, written last
//	_millrace/claim-JOB-NONCE.json      who works here; see below
//	_millrace/claim-….json.grave        whose claim was taken over for its silence
//	_millrace/uploads/ATTEMPT-HASH.json a pending upload, written down before its first byte
//	_millrace/plan/…                    the plan
//	_millrace/pieces/JOB/part-r-00000 … what is put together to one part
//	_millrace/commit.json               a Decision
//
// In the order of their writing:
//
//	claim → uploads → (pieces published and put together) → decision → (old manifest deleted) → parts published → (old parts deleted) → manifest
//	      → uploads and plan removed → decision removed → claim removed
//
// # Claims
//
// A claim keeps two jobs from one output, without conditional writes. A job writes a claim under a name of its own,
// then lists the claims. It goes on only if it sees no other claim that may be live; else it removes its own, waits
// a random time, and tries again or gives up and says who holds the output.
//
// Two jobs cannot both go on, given that a listing shows every object whose writing ended before the listing began,
// and that a job on its way keeps its claim: suppose neither saw the other's claim. Then the listing of each began
// before the writing of the other's claim ended. But each listed after it had written. So A wrote before A listed,
// which was before B had written, which was before B listed, which was before A had written: A wrote before it wrote.
// Both may withdraw; random waits part them.
//
// A claim is dead, and is taken over, if its process is known to be gone: the same host, boot and process namespace,
// but no process of that id and start. Of other hosts nothing is known but the claim's beat, which its job raises
// every [Beat]. A claim whose beat does not move for [Watch], by the watcher's own clock, is dead. Its job, if it
// lives after all, stops at [Lease] after its last beat, and finds before its decision that it was taken over.
//
// It may also stand still after it found that it was not, and write its decision when all that it names is swept. So who takes over a silent
// claim buries it first, beside the work directory's other objects: a grave is dug, then the decision is looked for, and only if it is not
// there the grave is closed and the work of that claim swept. A decision whose claim lies in a closed grave is void. Who writes a decision
// looks for a grave of its own afterwards, and goes on only if there is none: then the decision was there before the grave was, and whoever dug
// it finds it. Graves stay for as long as somebody may stand still.
package commit

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/millrace/millrace/job"
	"github.com/millrace/millrace/store"
)

// Errors, asked for with errors.Is.
var (
	// ErrExists says that something lies at the output already.
	ErrExists = errors.New("exists already")
	// ErrClaimed says that another job works at the output.
	ErrClaimed = errors.New("claimed")
	// ErrLost says that a claim was taken over, or could not be kept up for as long as others must respect it.
	ErrLost = errors.New("claim lost")
)

// The clock of claims, each by its own process.
const (
	Beat  = 5 * time.Second  // a claim's beat is raised so often
	Lease = 30 * time.Second // a job gives up after so long without a successful beat
	Watch = 45 * time.Second // a claim of another host is dead after so long without one
)

// Options say how an output is taken. A nil *Options means the zero value.
type Options struct {
	Name      string // the output's URI, for errors; "" means the key of its manifest
	Overwrite bool   // go on over an existing output, which stays as it is until the decision
	// Succeeds has the job go on where another coordinator of it was: what that left stays, its uploads and its plan, and claims of the same job are
	// taken over without a wait.
	Succeeds bool

	Owner   Owner                          // who claims; the zero value means this process
	Dead    func(Owner) (dead, known bool) // whether a process is gone; nil asks /proc. Not known: its beat decides
	Float64 func() float64                 // randomness in [0, 1) for waits and names; nil means math/rand/v2

	// Step, if not nil, is called before each step with its name, and at the end of some. Tests stop the world there.
	Step func(name string)
	// Published, if not nil, is told how many parts are visible, of how many.
	Published func(n, of int)
}

// Names within an output.
const (
	manifestName = "_manifest.json"
	workDir      = "_millrace/"
	claimPrefix  = "claim-"
	graveSuffix  = ".grave"
	uploadsDir   = "uploads/"
	piecesDir    = "pieces/"
	decisionName = "commit.json"

	// PlanDir is where a job keeps its plan, below the output.
	PlanDir = workDir + "plan/"
)

// Bounds of what is read.
const (
	maxSmall    = 1 << 20   // a claim, a record of an upload
	maxDocument = 256 << 20 // a decision, a manifest
)

const parallel = 16 // requests at once

// An output is a place where a job publishes.
type output struct {
	bucket store.Bucket
	prefix store.Key // "" or ends in "/"
	opts   Options
}

func newOutput(b store.Bucket, prefix store.Key, opts *Options) (*output, error) {
	if !utf8.ValidString(string(prefix)) {
		return nil, &job.Error{Op: "output", Err: fmt.Errorf("%q: not UTF-8", prefix)}
	}
	o := &output{bucket: b, prefix: Dir(prefix)}
	if opts != nil {
		o.opts = *opts
	}
	if o.opts.Name == "" {
		o.opts.Name = string(o.prefix + manifestName)
	}
	if o.opts.Owner == (Owner{}) {
		var err error
		if o.opts.Owner, err = Self(); err != nil {
			return nil, err
		}
	}
	if o.opts.Dead == nil {
		o.opts.Dead = o.opts.Owner.dead
	}
	if o.opts.Float64 == nil {
		o.opts.Float64 = rand.Float64
	}
	return o, nil
}

// Dir returns the prefix under which an output of that URI prefix lies: the same, ended by "/".
func Dir(prefix store.Key) store.Key {
	if prefix != "" && !strings.HasSuffix(string(prefix), "/") {
		prefix += "/"
	}
	return prefix
}

func (o *output) work(name string) store.Key { return o.prefix + workDir + store.Key(name) }

func (o *output) step(name string) {
	if o.opts.Step != nil {
		o.opts.Step(name)
	}
}

// wrap makes err one that names the output and stops the job.
func (o *output) wrap(err error) error {
	return &job.Error{Op: "output " + o.opts.Name, Err: err}
}

// read decodes the JSON document under key into v.
func (o *output) read(ctx context.Context, key store.Key, limit int64, v any) error {
	r, err := o.bucket.Open(ctx, key, "", 0, limit+1)
	if err != nil {
		return err
	}
	body, err := io.ReadAll(r)
	if err := errors.Join(err, r.Close()); err != nil {
		return err
	}
	if int64(len(body)) > limit {
		return fmt.Errorf("%s: larger than %d bytes", key, limit)
	}
	if err := json.Unmarshal(body, v); err != nil {
		return &documentError{key, err}
	}
	return nil
}

// A documentError says that what lies under a key is not the document that it should be.
type documentError struct {
	key store.Key
	err error
}

func (e *documentError) Error() string { return string(e.key) + ": " + e.err.Error() }
func (e *documentError) Unwrap() error { return e.err }

// write puts v as a JSON document.
func (o *output) write(ctx context.Context, key store.Key, v any) error {
	body, err := json.Marshal(v)
	if err != nil {
		return err
	}
	_, err = o.bucket.Put(ctx, key, body)
	return err
}

// manifest returns the manifest of ours that lies here, nil if there is none. found says whether there is any
// document of that name.
func (o *output) manifest(ctx context.Context) (m *job.Manifest, found bool, err error) {
	m = new(job.Manifest)
	err = o.read(ctx, o.prefix+manifestName, maxDocument, m)
	var foreign *documentError
	switch {
	case errors.Is(err, store.ErrNotExist):
		return nil, false, nil
	case errors.As(err, &foreign), err == nil && (m.Version < 1 || m.Job == ""):
		return nil, true, nil
	case err != nil:
		return nil, false, err
	}
	return m, true, nil
}
