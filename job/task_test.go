package job_test

import (
	"errors"
	"io"
	"slices"
	"testing"

	"github.com/millrace/millrace/job"
)

func TestTaskIDs(t *testing.T) {
	tests := []struct {
		id, next job.TaskID
		want     string
		reduce   bool
	}{
		{job.MapTask(0), job.MapTask(1), "m-00000", false},
		{job.MapTask(99_999), job.MapTask(100_000), "m-99999", false},
		{job.MapTask(1_234_567), job.MapTask(1_234_568), "m-1234567", false},
		{job.ReduceTask(7), job.ReduceTask(8), "r-00007", true},
	}
	ids := make([]job.TaskID, len(tests))
	for i, tt := range tests {
		ids[i] = tt.id
		if string(tt.id) != tt.want || tt.id.IsReduce() != tt.reduce || tt.id.Next() != tt.next {
			t.Errorf("got %s, reduce %v, next %s; want %s, %v, %s", tt.id, tt.id.IsReduce(), tt.id.Next(), tt.want, tt.reduce, tt.next)
		}
	}
	if !slices.IsSortedFunc(ids, job.TaskID.Compare) {
		t.Errorf("%s are not in the order of Compare", ids)
	}
}

func TestErrorTexts(t *testing.T) {
	tests := []struct {
		err  error
		want string
	}{
		{&job.Error{Op: "commit 4f1c", Err: io.ErrUnexpectedEOF}, "commit 4f1c: unexpected EOF"},
		{&job.Error{Err: io.ErrUnexpectedEOF}, "unexpected EOF"},
		{&job.AttemptError{Attempt: job.AttemptID{Task: job.MapTask(42), Try: 1}, Node: "node-9", Err: io.ErrUnexpectedEOF},
			"map m-00042.1 on node-9: unexpected EOF"},
		{&job.AttemptError{Attempt: job.AttemptID{Task: job.ReduceTask(7), Try: 2}, Node: "node-3", Err: io.ErrUnexpectedEOF},
			"reduce r-00007.2 on node-3: unexpected EOF"},
	}
	for _, tt := range tests {
		if got := tt.err.Error(); got != tt.want || !errors.Is(tt.err, io.ErrUnexpectedEOF) {
			t.Errorf("got %q, want %q, of an unexpected EOF", got, tt.want)
		}
	}
}
