// Package placement chooses who works on what. A [Queue] chooses the task that a free slot of a node works on next: one whose objects lie on that node, if there
// is one, after a short wait one whose objects lie in its zone, and after another any (delay scheduling: Zaharia et al., EuroSys 2010). A
// [Spread] does so for tasks that lie nowhere and had better not sit on one node together. [Shares] chooses the job that a free slot works for.
//
// All is plain state: time is given to it, and nothing here is safe for concurrent use.
package placement

import (
	"time"

	"github.com/millrace/millrace/job"
)

// DefaultPatience is short beside a job of minutes, and lets the slots of a node that holds many objects come round to most of them.
const DefaultPatience = 3 * time.Second

// A Task is something to place.
type Task struct {
	ID     job.TaskID
	Nodes  []string // that hold its input, best first; none means that all are alike
	Weight int64    // how much there is to do, in a unit of which all tasks have the same
}
