package job

import (
	"cmp"
	"strconv"
)

// A TaskID names a task: m-00042 maps a split, r-00007 reduces a partition.
type TaskID string

// MapTask and ReduceTask return the name of the n-th task of their kind.
func MapTask(n int) TaskID    { return taskID("m-", n) }
func ReduceTask(n int) TaskID { return taskID("r-", n) }

// taskID pads n to five digits. (Without package fmt, which guests would link.)
func taskID(prefix string, n int) TaskID {
	digits := strconv.Itoa(n)
	for len(digits) < 5 {
		digits = "0" + digits
	}
	return TaskID(prefix + digits)
}

// IsReduce reports whether t reduces a partition.
func (t TaskID) IsReduce() bool { return len(t) > 0 && t[0] == 'r' }

// Next returns the name of the task that follows t in its kind.
func (t TaskID) Next() TaskID {
	n, err := strconv.Atoi(string(t[2:]))
	if err != nil {
		panic("job: no task is named " + string(t))
	}
	if t.IsReduce() {
		return ReduceTask(n + 1)
	}
	return MapTask(n + 1)
}

// Compare orders map tasks before reduce tasks, and tasks of a kind by number.
func (t TaskID) Compare(u TaskID) int {
	if c := cmp.Compare(len(t), len(u)); c != 0 && t.IsReduce() == u.IsReduce() {
		return c
	}
	return cmp.Compare(t, u)
}

// An AttemptID names one try of a task: m-00042.2 is the second.
type AttemptID struct {
	Task TaskID `json:"task"`
	Try  int    `json:"try"` // counted from 1
}

func (a AttemptID) String() string { return string(a.Task) + "." + strconv.Itoa(a.Try) }
