package job

import "time"

// A Manifest lists what a job published. It lies at OUTPUT/_manifest.json and is written last: a reader who finds it finds
// everything that it names.
type Manifest struct {
	Version  int               `json:"version"` // 1
	Job      string            `json:"job"`
	Created  time.Time         `json:"created"`
	Program  Program           `json:"program"`
	Inputs   []string          `json:"inputs"`
	Params   map[string]string `json:"params,omitempty"`
	Reducers int               `json:"reducers"`         // partitions; 0 for a map-only job
	Groups   map[string]Group  `json:"groups,omitempty"` // if there are, Program is empty
	Format   Format            `json:"format"`
	Compress Compression       `json:"compress,omitempty"`
	Took     time.Duration     `json:"job_ns"` // from the start of the job to its decision
	Parts    []Part            `json:"parts"`
	Failed   []Part            `json:"failed,omitempty"` // _failed/part-*.jsonl: a FailedObject a line
	Counters Counters          `json:"counters"`

	Partitions []Partition `json:"partitions,omitempty"` // in their order: what reducers were given
}

// A Part is one published object of a job's output.
type Part struct {
	Key     string `json:"key"` // below the output URI
	Size    int64  `json:"size"`
	SHA256  string `json:"sha256"` // hexadecimal; "" if the store has put the part together
	ETag    string `json:"etag"`
	Records int64  `json:"records"`

	Pieces []Piece `json:"pieces,omitempty"` // of a part that was put together: one after the other, they are all of it
}

// A Piece is a range of a part.
type Piece struct {
	Size   int64  `json:"size"`
	SHA256 string `json:"sha256"`
}

// A Partition is what the reducer of one partition was given.
type Partition struct {
	Emitted int64 `json:"emitted"` // records, as mappers emitted them
	Records int64 `json:"records"` // after combining: what the reducer read
	Bytes   int64 `json:"bytes"`   // keys and values of those
	Keys    int64 `json:"keys"`    // different ones

	// The key that has more than half of many records, as text, and how many it has. A long one is cut.
	HotKey     string `json:"hot_key,omitempty"`
	HotRecords int64  `json:"hot_records,omitempty"`
}

// A FailedObject says which object a job could not map, and why.
type FailedObject struct {
	URI    string `json:"uri"`
	Reason string `json:"reason"`
	Task   TaskID `json:"task"`
}

// An AttemptReport is what one committed attempt adds to its job. Its counters of attempts are 0.
type AttemptReport struct {
	Attempt  AttemptID `json:"attempt"`
	Node     string    `json:"node"`
	Counters Counters  `json:"counters"`
}

// Counters add up committed attempts only, Attempts, Retries, Backups and Beaten excepted. Queue and Run are sums over attempts, which run side by side;
// neither says anything about the time of the job, which is in its Manifest.
type Counters struct {
	Objects   int64            `json:"objects"` // mapped, failed ones included
	Bytes     int64            `json:"bytes"`   // of input read
	Failed    int64            `json:"failed"`
	Archived  int64            `json:"archived"`            // listed, not mapped: must be restored first
	Markers   int64            `json:"markers"`             // listed, not mapped: empty keys that end in "/"
	Checked   int64            `json:"checked,omitempty"`   // mapped again to check the program, and came out the same
	Unchecked int64            `json:"unchecked,omitempty"` // mapped again, but not to be compared: over a time limit, say
	Emitted   int64            `json:"emitted"`             // records that mappers emitted
	Output    int64            `json:"output"`              // records in the parts
	User      map[string]int64 `json:"user,omitempty"`      // what programs counted
	Attempts  int64            `json:"attempts"`            // begun
	Retries   int64            `json:"retries"`             // of those, failed or lost with their nodes
	Backups   int64            `json:"backups,omitempty"`   // of those, begun beside another one of their task that was slow
	Beaten    int64            `json:"beaten"`              // of those, done after another attempt of their task had committed

	Queue      time.Duration `json:"queue_ns"`    // tasks waited for a slot
	Run        time.Duration `json:"run_ns"`      // attempts ran, from the lease to the report
	CPU        time.Duration `json:"cpu_ns"`      // of guests and runners, user and system
	PeakMemory int64         `json:"peak_memory"` // bytes, of the largest attempt: the most its runner has had by its end

	// Of programs that are not compiled into millrace: the calls and bytes of their channels, and the lines of their logs.
	Reads      int64 `json:"reads"`
	ReadBytes  int64 `json:"read_bytes"`
	Writes     int64 `json:"writes"`
	WriteBytes int64 `json:"write_bytes"`
	LogLines   int64 `json:"log_lines"`
	LogDropped int64 `json:"log_dropped"` // of those, lines over the limit
	Restored   int64 `json:"restored"`    // objects for which the program was brought back to a snapshot, not started

	Input Reading `json:"input,omitzero"` // from where objects were read

	Channels Traffic `json:"channels,omitempty"` // of a job that has channels, by their names
}

// A Reading says from where objects were read, and where they were mapped.
type Reading struct {
	Local       int64 `json:"local"` // objects read from disks of the node that mapped them
	LocalBytes  int64 `json:"local_bytes"`
	Remote      int64 `json:"remote"` // objects read from their store over the network
	RemoteBytes int64 `json:"remote_bytes"`
	Placed      int64 `json:"placed"` // map tasks whose objects lie on nodes that are known
	Near        int64 `json:"near"`   // of those, done on one of these nodes
}

// Plus returns r and sign times s together.
func (r Reading) Plus(s Reading, sign int64) Reading {
	r.Local += sign * s.Local
	r.LocalBytes += sign * s.LocalBytes
	r.Remote += sign * s.Remote
	r.RemoteBytes += sign * s.RemoteBytes
	r.Placed += sign * s.Placed
	r.Near += sign * s.Near
	return r
}

// A Result is how a job ended, for whoever started it.
type Result struct {
	Manifest
	Printed     int64          // records printed, for a job without output
	FailedNames []FailedObject // the first hundred
	Resumed     bool           // an earlier job's decision was found and finished instead
	Elapsed     time.Duration
}
