package commit

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"iter"
	"strings"

	"github.com/millrace/millrace/job"
	"github.com/millrace/millrace/store"
)

// Uploads writes down the pending uploads of one job, so that whoever comes after a crash can discard them. It may be
// used concurrently, by any process that works for the job.
type Uploads struct {
	Bucket store.Bucket
	Prefix store.Key // of the output, as for Take
	Job    string
}

// An upload is such a record.
type upload struct {
	Version int          `json:"version"`
	Job     string       `json:"job"`
	Attempt string       `json:"attempt"`
	Handle  store.Handle `json:"handle"`
}

// Record writes h down. It must return before the first byte is written to the pending object.
func (u *Uploads) Record(ctx context.Context, attempt string, h store.Handle) error {
	body, err := json.Marshal(upload{Version: 1, Job: u.Job, Attempt: attempt, Handle: h})
	if err != nil {
		return err
	}
	_, err = u.Bucket.Put(ctx, u.key(attempt, h), body)
	return err
}

// Discard discards the upload h of an attempt that lost, and its record.
func (u *Uploads) Discard(ctx context.Context, attempt string, h store.Handle) error {
	if err := u.Bucket.Discard(ctx, h); err != nil {
		return err
	}
	return u.Bucket.Delete(ctx, u.key(attempt, h))
}

func (u *Uploads) key(attempt string, h store.Handle) store.Key {
	sum := sha256.Sum256([]byte(string(h.Key) + "\x00" + h.ID))
	name := fmt.Sprintf("%s-%x.json", strings.ReplaceAll(attempt, "/", "_"), sum[:6])
	return Dir(u.Prefix) + workDir + uploadsDir + store.Key(name)
}

// Key returns the key under which a part of that name is published: part-00007.
func (u *Uploads) Key(name string) store.Key { return Dir(u.Prefix) + store.Key(name) }

// WriteFailed uploads the n-th list of objects that could not be mapped, as a pending part.
func (u *Uploads) WriteFailed(ctx context.Context, n int, objects iter.Seq[job.FailedObject]) (_ Part, err error) {
	name := fmt.Sprintf("_failed/part-%05d.jsonl", n)
	w, err := u.Bucket.Create(ctx, u.Key(name), &store.CreateOptions{ContentType: "application/jsonl"})
	if err != nil {
		return Part{}, err
	}
	defer w.Abort(context.WithoutCancel(ctx)) // after Seal this does nothing
	if err := u.Record(ctx, fmt.Sprintf("failed-%05d", n), w.Handle()); err != nil {
		return Part{}, err
	}
	part := Part{}
	var line []byte
	for f := range objects {
		body, err := json.Marshal(f)
		if err != nil {
			return Part{}, err
		}
		line = append(append(line[:0], body...), '\n')
		if _, err := w.Write(line); err != nil {
			return Part{}, err
		}
		part.Records++
	}
	part.Pending, err = w.Seal(ctx)
	return part, err
}
