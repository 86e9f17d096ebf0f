package sandbox

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
)

// Defaults of [Config].
const (
	defaultJailMemory = 1 << 30
	defaultPids       = 256
	defaultWorkBytes  = 64 << 20
	defaultWorkFiles  = 4096
)

// A plan says what the child builds: [Start] writes it to the child's stdin, [Enter] reads it, and writes it to itself if it executes
// the program again.
// Ids are those seen by the child.
type plan struct {
	Native    bool
	Insecure  []Layer
	Files     int   // inherited descriptors 3, 4, …
	Memory    int64 // bytes
	Capped    bool  // a cgroup holds Memory and Pids
	Pids      int
	FileSize  int64
	WorkBytes int64
	WorkFiles int

	Dynamic bool // the executable needs the system's libraries
	Inside  bool // all is built but the filter of system calls
	Null    int  // descriptor of /dev/null, when all is built
	Score   int  // descriptor of this process's oom_score_adj; 0: none

	Switch bool // become Runner, which is not yet the uid of the child
	Runner int  // uid and gid of the child
	Guest  int  // uid and gid of native guests
	Events int  // descriptor of the cgroup's count of OOM kills; 0: none

	Channels []string // files of native guests below /dev

	Work    string // directory of native guests
	Program string // directory of their program
}

// Where things are in the jail of a native runner.
const (
	workDir    = "/work"
	programDir = "/program"
)

func (p *plan) has(l Layer) bool { return !slices.Contains(p.Insecure, l) }

// A reply is the child's answer when the jail is complete, or why it is not.
type reply struct {
	Layer Layer  // of the part that is missing, if one is
	Cause string // empty: the jail is complete
	Fix   string
}

// maxReply bounds what Start reads of the child before it is trusted with anything.
const maxReply = 64 << 10

func readReply(r io.Reader) error {
	b, err := io.ReadAll(io.LimitReader(r, maxReply))
	if err != nil {
		return err
	}
	if len(b) == 0 {
		return errors.New("the child ended before its jail was complete")
	}
	var a reply
	if err := json.Unmarshal(b, &a); err != nil {
		return fmt.Errorf("answer of the child: %w", err)
	}
	if a.Cause == "" {
		return nil
	}
	if a.Layer == "" {
		return errors.New(a.Cause)
	}
	return &LayerError{Layer: a.Layer, Cause: errors.New(a.Cause), Fix: a.Fix}
}

func replyOf(err error) reply {
	var layer *LayerError
	switch {
	case err == nil:
		return reply{}
	case errors.As(err, &layer):
		return reply{Layer: layer.Layer, Cause: layer.Cause.Error(), Fix: layer.Fix}
	default:
		return reply{Cause: err.Error()}
	}
}
