package job

// An Error stops a job and is for its user to mend: what, where, why, in one line.
type Error struct {
	Op  string // what was being done: "list", "plan", "commit 4f1c", …
	Err error
}

func (e *Error) Error() string {
	if e.Op == "" {
		return e.Err.Error()
	}
	return e.Op + ": " + e.Err.Error()
}

func (e *Error) Unwrap() error { return e.Err }

// An AttemptError ends one attempt; another may succeed.
type AttemptError struct {
	Attempt AttemptID
	Node    string
	Err     error
}

func (e *AttemptError) Error() string {
	kind := "map"
	if e.Attempt.Task.IsReduce() {
		kind = "reduce"
	}
	return kind + " " + e.Attempt.String() + " on " + e.Node + ": " + e.Err.Error()
}

func (e *AttemptError) Unwrap() error { return e.Err }
