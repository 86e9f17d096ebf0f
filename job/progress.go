package job

import "time"

// A Phase is what a job is mainly doing. Phases only move forward.
type Phase string

// Phases, in order. A map-only job skips Reducing; a job that prints skips Committing.
const (
	Listing    Phase = "list"
	Mapping    Phase = "map"
	Reducing   Phase = "reduce"
	Committing Phase = "commit"
	Done       Phase = "done"
)

// A Progress is a job at one moment: plain counters that only grow (a lost attempt takes its share of the map
// and reduce counters back).
type Progress struct {
	Job     string        `json:"job"`
	Phase   Phase         `json:"phase"`
	Elapsed time.Duration `json:"elapsed_ns"`

	Listed      int64 `json:"listed"`       // objects in the plan so far; of a job of groups, for each group that maps them
	ListedBytes int64 `json:"listed_bytes"` // their sizes
	ListDone    bool  `json:"list_done"`    // the plan is complete

	Objects int64 `json:"objects"` // objects read and mapped, failed ones included
	Bytes   int64 `json:"bytes"`   // their sizes
	Failed  int64 `json:"failed"`  // objects listed as failed
	Records int64 `json:"records"` // emitted by mappers; for grep: matching lines

	Maps     int `json:"maps"` // map tasks committed, and planned so far
	MapTotal int `json:"map_total"`

	ShuffleBytes int64 `json:"shuffle_bytes"` // in sealed runs
	Reduces      int   `json:"reduces"`       // reduce tasks committed
	ReduceTotal  int   `json:"reduce_total"`

	// Of committed attempts, as in Counters.
	Queue      time.Duration `json:"queue_ns"`
	Run        time.Duration `json:"run_ns"`
	CPU        time.Duration `json:"cpu_ns"`
	PeakMemory int64         `json:"peak_memory"`

	Published    int `json:"published"` // output parts visible, and in all
	PublishTotal int `json:"publish_total"`
}
