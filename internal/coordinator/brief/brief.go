// Package brief is what a coordinator and its agents say to each other of whole jobs, over the cluster: what a job is, which task of which job a slot
// gets, what only a runner can tell of a program. Package coordinator has the messages within a job.
//
// Agents call agent.NODE.want, .follow, .commit, .fail and .job, and tell agent.NODE.beat; they answer node.NODE.describe, .cuts and .program.
// A coordinator tells all of them over, with the name of a job that needs nobody any more. All of it is JSON.
package brief

import (
	"github.com/millrace/millrace/internal/coordinator"
	"github.com/millrace/millrace/job"
	"github.com/millrace/millrace/shuffle"
)

// Subjects, behind "agent.NODE." and "node.NODE.".
const (
	Want     = "want"     // a coordinator.Want; the answer is an Assignment. One without a job is for any.
	Follow   = "follow"   // a coordinator.Follow; the answer is a coordinator.Arrivals
	Commit   = "commit"   // a coordinator.Commit; the answer is a coordinator.Verdict
	Fail     = "fail"     // a coordinator.Failure; the answer is a coordinator.Verdict
	Job      = "job"      // a Query; the answer is a Brief
	Beat     = "beat"     // news: a coordinator.Beat
	Describe = "describe" // a Query; the answer is a Description
	Cuts     = "cuts"     // a Query with Splits; the answer is a Borders
	Program  = "program"  // a Query with Digest and Origin; the answer is a Kept
)

// Revoke is news to a node, a Revocation. It may be lost: what the attempt then makes is refused.
const Revoke = "revoke"

// A Revocation says that an attempt is not wanted any more, because another one counts.
type Revocation struct {
	Job     string        `json:"job"`
	Epoch   uint64        `json:"epoch"`
	Attempt job.AttemptID `json:"attempt"`
}

// Over is the subject of news, the name of a job, that no agent needs to keep anything of it.
const Over = "over"

// ToCoordinator returns the subject by which a node calls its coordinator; a node of "*" is any. ToNode returns that of calls the other way.
func ToCoordinator(node, what string) string { return "agent." + node + "." + what }

// ToNode returns the subject by which a coordinator calls a node.
func ToNode(node, what string) string { return "node." + node + "." + what }

// Codes of errors (cluster.RemoteError) that an agent acts on.
const (
	CodeOver    = "over"    // no such job, or not any more: its agents let go of it
	CodeDeposed = "deposed" // the answerer does not lead: ask again
	CodeStale   = "stale"   // the question is of an epoch that is over: what was asked stays open
	CodeJob     = "job"     // the job cannot be done, by anybody
)

// A Brief is what an agent is told of a job before it works for it.
type Brief struct {
	Job   string   `json:"job"`
	Epoch uint64   `json:"epoch"`
	Spec  job.Spec `json:"spec"` // programs without paths
	// Plan is the name of the plan in the Area of its Places. Where there is none, Blocks is the address of the node that has the plan's blocks, whose shards are
	// tokens there.
	Plan   string `json:"plan,omitempty"`
	Blocks string `json:"blocks,omitempty"`
	// Origin says from where programs and blocks come: the incarnation of the coordinator's data node.
	Origin uint64 `json:"origin,omitempty"`
	// Programs are where programs can be fetched, by digest.
	Programs map[string]shuffle.Descriptor `json:"programs,omitempty"`
}

// An Assignment answers a Want: a lease of a task, and of which job.
type Assignment struct {
	coordinator.Lease
	Job   string `json:"job,omitempty"`
	Epoch uint64 `json:"epoch,omitempty"` // of the coordinator
	// Text is where what the attempt prints goes; "" if it does not print, or its agent knows.
	Text shuffle.Descriptor `json:"text,omitempty"`
}

// A Query asks about a job.
type Query struct {
	Job        string      `json:"job"`
	Epoch      uint64      `json:"epoch,omitempty"`
	Splits     []job.Split `json:"splits,omitempty"`     // of Cuts: some of the plan
	Partitions int         `json:"partitions,omitempty"` // of Cuts
	Digest     string      `json:"digest,omitempty"`     // of Program
	Origin     uint64      `json:"origin,omitempty"`     // of Program: who will fetch it
}

// A Description is what a program says of itself.
type Description struct {
	MapOnly bool `json:"map_only"`
}

// A Kept is where a node keeps a program; "" if it does not have it.
type Kept struct {
	At shuffle.Descriptor `json:"at,omitempty"`
}

// Borders are the first keys of all partitions but the first.
type Borders struct {
	Keys [][]byte `json:"keys"`
}
