package job

// A Split is what one map task reads, as the coordinator knows it: the header of a list of objects that lies in the plan.
// Its objects are in the order of inputs and keys; those of one split follow on those of the split before where the order of what a job makes depends on it.
type Split struct {
	Task    TaskID   `json:"task"`
	Shard   string   `json:"shard"`  // name of the plan shard that holds its list
	Offset  int64    `json:"offset"` // of its block in the shard
	Length  int64    `json:"length"`
	Objects int      `json:"objects"`
	Bytes   int64    `json:"bytes"`
	Nodes   []string `json:"nodes,omitempty"` // preferred, best first
	Gang    []Split  `json:"gang,omitempty"`  // what it is made of, if one task maps all of the plan; it has no list of its own then
}
