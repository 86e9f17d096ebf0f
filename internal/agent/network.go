package agent

import (
	"encoding/binary"
	"fmt"
	"time"

	"github.com/millrace/millrace/internal/coordinator"
	"github.com/millrace/millrace/job"
	"github.com/millrace/millrace/shuffle"
	"github.com/millrace/millrace/shuffle/flight"
)

// A Network is how an agent has the runs that other nodes keep, and they those that it keeps. Where those nodes are, the coordinator tells.
type Network struct {
	Flight *flight.Node // stays the caller's; its peers show certificates of package identity
	// Patience is how long nothing may be heard of a node that was asked, before it counts as out of reach; 0 means 20 seconds: by then a
	// node that is lost is known to be.
	Patience time.Duration
}

const defaultPatience = 20 * time.Second

// runsOf is the name by which the runs of a job are asked for.
func runsOf(job string) string { return "runs/" + job }

// A question asks a node for its sections of one partition. It is drawn in the package comment.
type question struct {
	node      string
	partition int
	runs      []coordinator.Run // their Attempt and Vector
}

const (
	questionVersion = 1

	stateHere = 1
	stateGone = 2

	answerHead  = 5
	maxSections = 1 << 16 // of one run and partition
)

// encode returns the question as it travels.
func (q question) encode() []byte {
	b := appendName([]byte{questionVersion}, q.node)
	b = binary.LittleEndian.AppendUint32(b, uint32(q.partition))
	for i := range q.runs {
		r := &q.runs[i]
		b = appendName(b, string(r.Attempt.Task))
		b = binary.LittleEndian.AppendUint32(b, uint32(r.Attempt.Try))
		b = binary.LittleEndian.AppendUint64(b, r.Vector)
	}
	return b
}

func appendName(b []byte, s string) []byte { return append(append(b, byte(len(s))), s...) }

// parseQuestion is the inverse of encode. The error is shuffle.ErrCorrupt.
func parseQuestion(b []byte) (q *question, err error) {
	bad := fmt.Errorf("%w: not a question for runs", shuffle.ErrCorrupt)
	name := func() (s string, ok bool) {
		if len(b) == 0 || int(b[0]) >= len(b) {
			return "", false
		}
		n := 1 + int(b[0])
		s, b = string(b[1:n]), b[n:]
		return s, true
	}
	if len(b) == 0 || b[0] != questionVersion {
		return nil, bad
	}
	b = b[1:]
	q = &question{}
	var ok bool
	if q.node, ok = name(); !ok || len(b) < 4 {
		return nil, bad
	}
	q.partition, b = int(binary.LittleEndian.Uint32(b)), b[4:]
	for len(b) > 0 {
		task, ok := name()
		if !ok || len(b) < 12 {
			return nil, bad
		}
		q.runs = append(q.runs, coordinator.Run{
			Attempt: job.AttemptID{Task: job.TaskID(task), Try: int(binary.LittleEndian.Uint32(b))}, Vector: binary.LittleEndian.Uint64(b[4:]),
		})
		b = b[12:]
	}
	return q, nil
}
