// Package plan turns the inputs of a job into splits: lists of objects, each pinned to the version that was listed,
// in the order of inputs and then of keys. A plan is written once and never changes.
//
// Where it is known on which nodes objects lie, a split has objects that all lie on one node. Many splits are open then, one for each node, and share a
// bounded memory. Equal listings and equal advice give equal plans.
//
// [Build] lists, filters, cuts and writes; each split is announced as soon as its list can be read back, so that
// mapping starts long before the listing ends. Only the headers of splits ([job.Split]) stay in memory; a [Reader]
// fetches the list of one split from the plan's [Area].
//
// # Format, version 1
//
// A plan is a sequence of blocks, one for each split, which lie in shards. A block:
//
//	offset  bytes  what
//	0       4      "MRPL"
//	4       1      version, 1
//	5       1      compression of the payload: 1, S2 block
//	6       2      zero
//	8       4      length of the payload before compression
//	12      4      length of the payload as it lies here
//	16      4      CRC-32C of bytes 0 to 15 and of the payload as it lies here
//	20      …      payload
//
// All integers of fixed size are little-endian. The payload, u being an unsigned and i a zig-zag varint as in
// encoding/binary:
//
//	u        objects
//	u        runs of objects that belong to one input; for each:
//	           u input, u objects
//	         for each object:
//	           u length of its key, u length of its ETag, u size,
//	           i seconds of its modification since that of the object before (the first: since 1970), u nanoseconds
//	bytes    all keys, back to back
//	bytes    all ETags, back to back
//
// Beside the shards lies the index of a sealed plan, the headers of all its splits:
//
//	offset  bytes  what
//	0       4      "MRPI"
//	4       1      version, 1
//	5       1      compression of the payload: 1, S2 block
//	6       2      zero
//	8       4      splits
//	12      4      length of the payload before compression
//	16      32     digest of the plan
//	48      4      CRC-32C of bytes 0 to 47 and of the payload as it lies here
//	52      …      payload: for each split
//	                 u length of the name of its shard, and the name; 0 if it is that of the split before
//	                 u offset, u length, u objects, u bytes, u preferred nodes; for each of these
//	                   u its number, in the order in which nodes are first named, and the first time u length of its name, and the name
//
// The digest of a plan is a SHA-256 over its inputs' URIs and its payloads before compression, each preceded by its
// length: equal lists give equal digests, wherever and however the blocks lie.
package plan

import (
	"context"
	"errors"
	"time"

	"github.com/millrace/millrace/store"
)

// ErrCorrupt says that a block is not what was written. It is asked for with errors.Is.
var ErrCorrupt = errors.New("corrupt plan")

// An Input is one place that a job reads. Objects name their input by its index in the list of them.
type Input struct {
	URI    store.URI
	Bucket store.Bucket
}

// A Locator says on which nodes objects lie. What it says wrongly costs speed only.
type Locator interface {
	// Locate sets nodes[i] to the nodes that hold the object under keys[i], each once; to nil if nobody knows.
	Locate(ctx context.Context, keys []store.Key, nodes [][]string) error
}

// An Object is one object of a plan, pinned to the version that was listed.
type Object struct {
	Input    int // index of its input
	Key      store.Key
	Size     int64
	ETag     string
	Modified time.Time // in UTC
}

// A Name is an object of an input, for telling people about it.
type Name struct {
	Input int       `json:"input"`
	Key   store.Key `json:"key"`
}

// A Summary is what a plan comes to.
type Summary struct {
	Objects  int64  `json:"objects"`
	Bytes    int64  `json:"bytes"`
	Archived int64  `json:"archived"` // listed, not in the plan: must be restored first
	Markers  int64  `json:"markers"`  // listed, not in the plan: empty keys that end in "/"
	Filtered int64  `json:"filtered"` // listed, not in the plan: globs, dates, and what Millrace itself wrote
	Splits   int    `json:"splits"`
	Largest  int64  `json:"largest"` // bytes of the largest object
	Reducers int    `json:"reducers"`
	Requests int64  `json:"requests"` // expected to the store: listing, reading, output
	Digest   string `json:"digest"`   // of the plan

	Nodes     []Node `json:"nodes,omitempty"`     // that hold splits, in the order of their names
	Unlocated string `json:"unlocated,omitempty"` // why where objects lie is not known, though there is who should

	Skipped []Name `json:"skipped,omitempty"` // the first hundred archived objects and markers
	Empty   []int  `json:"empty,omitempty"`   // inputs that gave no object
}

// A Node is what lies on a node.
type Node struct {
	Node   string `json:"node"`
	Splits int    `json:"splits"` // that prefer it to all others
	Bytes  int64  `json:"bytes"`  // of those splits
}

// maxSkipped is how many of the objects not planned are named.
const maxSkipped = 100
