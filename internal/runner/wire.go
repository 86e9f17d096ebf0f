// Package runner is what runs inside the jail: it maps the objects that its agent hands over and reduces what mappers emitted.
//
// # The channel
//
// Agent and runner share a socket and a piece of memory, both made by the agent before the runner starts. The socket
// (AF_UNIX, SOCK_SEQPACKET) carries frames, one a packet, at most [MaxFrame] bytes; the first byte is its kind. Descriptors
// travel with the frame that speaks of them.
//
//	agent → runner                          runner → agent
//	C  compile [+ program]                  K  compiled [+ file]
//	H  Hello (JSON) [+ program]             R  Ready (JSON)
//	M  Map (JSON) [+ run file]
//	B  slab u32, bytes u32: objects lie     F  slab u32: the slab is free again
//	   in that slab                         T  text: output bytes, up to the end of an object
//	                                        t  text that the next T (or t) continues
//	                                        O  object u32, reason: that object failed
//	                                        S  Sum (JSON): what became of an object, for those so marked
//	                                        Y  keys of a sample, each behind its length u16
//	E  no more objects                      D  Done (JSON): the attempt succeeded
//	U  Reduce (JSON) + spill file           L  name: that run cannot be read as it was written
//	V  Runs (JSON) + their file             X  reason: the attempt failed
//	N  runs u32: so many come in all        x  the same, because another member's did
//	G  the attempt is not wanted any more
//	I  Link (JSON) + socket
//	P  run the program once
//	Z  no more splits
//
// C is for a runner that does nothing else, and that need not be trusted by those that serve other jobs: it answers K, with a sealed memfd, or X, and ends. It
// runs the program once, to be told what it is.
// After H the runner answers R or X. After M come B frames and E, and the runner answers D or X; after U come V frames, as
// mappers end, and one N, until as many runs came as that says, or G; the runner answers likewise, with T frames before; L comes before X. To an X that comes
// before its last run the agent answers with G. One attempt is under way at a time.
//
// A runner whose Hello names a Member gets all its links, I, before anything else. Then one that maps gets M for one split after another, and
// Z after the last; another gets P. Such a runner serves no further attempt.
//
// The version of all this is [Version], in Hello.
//
// # The memory
//
// A sealed memfd: one page of status, then [Slabs] slabs of [SlabSize] bytes. A slab belongs to the agent until its B frame
// and to the runner from then to its F frame. In a slab objects (or pieces of a large one) follow each other:
//
//	0        4        8                16               24       28   30   32       36       40
//	| index  | input  | size           | modified (ns)  | length |klen|elen| flags  | 0      | key | etag | data |
//
// all little-endian; index is the object's place in its split, length that of data. Flags: 1 first piece, 2 last piece,
// 4 the object could not be read: forget it, 8 a Sum of it is wanted.
//
// Nothing that a runner writes is trusted: the agent bounds every frame, and the status page only tells which object to blame.
package runner

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/millrace/millrace/internal/guest"
	"github.com/millrace/millrace/job"
	"github.com/millrace/millrace/shuffle"
)

// Version is that of the channel between an agent and its runners.
const Version = 5

// Sizes of the channel.
const (
	MaxFrame = 128 << 10 // bytes of one frame, its kind included
	Slabs    = 4
	SlabSize = 2 << 20
)

// A Kind is the first byte of a frame.
type Kind byte

// Kinds of frames.
const (
	KindCompile  Kind = 'C'
	KindCompiled Kind = 'K'
	KindHello    Kind = 'H'
	KindReady    Kind = 'R'
	KindMap      Kind = 'M'
	KindBatch    Kind = 'B'
	KindFree     Kind = 'F'
	KindText     Kind = 'T'
	KindMore     Kind = 't'
	KindFailed   Kind = 'O'
	KindSum      Kind = 'S'
	KindEnd      Kind = 'E'
	KindReduce   Kind = 'U'
	KindRuns     Kind = 'V'
	KindTotal    Kind = 'N'
	KindGone     Kind = 'G'
	KindLost     Kind = 'L'
	KindKeys     Kind = 'Y'
	KindDone     Kind = 'D'
	KindAbort    Kind = 'X'
	KindOther    Kind = 'x'
	KindLink     Kind = 'I'
	KindRun      Kind = 'P'
	KindLast     Kind = 'Z'
)

// ErrProtocol says that the other end of the channel broke its rules.
var ErrProtocol = errors.New("runner protocol")

// A Hello is all that a runner learns of its job. The program that comes with it is an executable, or a module that was compiled, or one
// that was not and is to be interpreted.
type Hello struct {
	Version   int               `json:"version"`
	Engine    job.Engine        `json:"engine"`
	Name      string            `json:"name,omitempty"` // of a builtin
	Args      []string          `json:"args,omitempty"`
	Params    map[string]string `json:"params,omitempty"`
	OKExit    []int             `json:"ok_exit,omitempty"`
	Limits    job.Limits        `json:"limits"`
	Isolation job.Isolation     `json:"isolation,omitempty"`
	Reducer   string            `json:"reducer,omitempty"` // stock reducer for a program without its own
	Format    job.Format        `json:"format"`
	Compress  job.Compression   `json:"compress,omitempty"`
	Inputs    []Input           `json:"inputs"`
	DigestKey uint64            `json:"digest_key"`
	Seed      uint64            `json:"seed"` // of what is random in guests: the same for the same program, arguments and parameters
	Interpret bool              `json:"interpret,omitempty"`
	Insecure  []string          `json:"insecure,omitempty"`
	Member    *Member           `json:"member,omitempty"` // of a job of several groups
}

// An Input says how the objects of one input URI are named.
type Input struct {
	Root string `json:"root"` // URI of the bucket, to which a key is appended
	Base int    `json:"base"` // bytes of a key that people are not shown
}

// A Ready answers a Hello.
type Ready struct {
	Description guest.Description `json:"description"`
}

// A Map starts a map attempt.
type Map struct {
	Attempt    job.AttemptID `json:"attempt"`
	Partitions int           `json:"partitions"`      // 0: map-only, output is text
	Spill      int64         `json:"spill,omitempty"` // bytes that the run file may take; 0: any number
	Cuts       [][]byte      `json:"cuts,omitempty"`  // the first key of each partition but the first; nil: keys are hashed
	// Sample is how many of the emitted keys are wanted, and nothing else: no run file comes, nothing is sent but Keys.
	Sample int `json:"sample,omitempty"`
	// Check is set if nothing of what is emitted counts: no run file comes, no text is sent, only Sums.
	Check bool `json:"check,omitempty"`
}

// A Reduce starts a reduce attempt. The file that comes with it takes what is merged before everything is.
type Reduce struct {
	Attempt job.AttemptID `json:"attempt"`
	Spill   int64         `json:"spill,omitempty"` // bytes that the spill file may take; 0: any number
}

// A Runs hands over runs of one map attempt, all of the partition that is reduced, in the file that comes with it.
type Runs struct {
	Name     string            `json:"name"` // of the attempt
	Sections []shuffle.Section `json:"sections"`
}

// MaxRuns bounds the sections of one Runs, and those of a reduce attempt that come before it is known how many do: the runner keeps
// their files open.
const MaxRuns = 256

// A Done is the report of an attempt that succeeded.
type Done struct {
	Objects int64            `json:"objects"` // mapped, failed ones included
	Bytes   int64            `json:"bytes"`
	Emitted int64            `json:"emitted"` // records
	Output  int64            `json:"output"`  // records written as text
	User    map[string]int64 `json:"user,omitempty"`

	CPUUser   int64 `json:"cpu_user_ns"`   // of the runner and of guests in it or below it
	CPUSystem int64 `json:"cpu_system_ns"` // likewise
	Wall      int64 `json:"wall_ns"`
	Peak      int64 `json:"peak"` // bytes, of the runner so far

	GuestUser   int64 `json:"guest_user_ns"`   // CPU of guests
	GuestSystem int64 `json:"guest_system_ns"` // CPU of guests
	GuestWall   int64 `json:"guest_wall_ns"`
	GuestPeak   int64 `json:"guest_peak"` // bytes, of the largest run
	Reads       int64 `json:"reads"`
	ReadBytes   int64 `json:"read_bytes"`
	Writes      int64 `json:"writes"`
	WriteBytes  int64 `json:"write_bytes"`
	LogLines    int64 `json:"log_lines"`
	LogDropped  int64 `json:"log_dropped"`
	Restored    int64 `json:"restored"` // runs of guests that began at a snapshot

	Partition *job.Partition `json:"partition,omitempty"` // of a reduce

	IndexOffset int64 `json:"index_offset,omitempty"` // of the sections' table in the run file
	IndexLength int64 `json:"index_length,omitempty"`

	Channels job.Traffic `json:"channels,omitempty"` // of a member, when its channels have ended
}

const objectHeader = 40

// Flags of an object's piece.
const (
	flagFirst = 1 << iota
	flagLast
	flagUnread
	flagSum
)

// A Piece is one object, or a piece of a large one, as it lies in a slab.
type Piece struct {
	Index    uint32
	Input    uint32
	Size     int64
	Modified int64 // Unix time in nanoseconds
	Key      string
	ETag     string
	First    bool
	Last     bool
	Unread   bool // the object could not be read
	Sum      bool // a Sum of the object is wanted
}

// HeadSize returns the bytes that p occupies in a slab beside its data.
func (p *Piece) HeadSize() int { return objectHeader + len(p.Key) + len(p.ETag) }

// Put writes p's header for n bytes of data to slab, which has room for it, and returns where the data goes.
func (p *Piece) Put(slab []byte, n int) []byte {
	le := binary.LittleEndian
	le.PutUint32(slab[0:], p.Index)
	le.PutUint32(slab[4:], p.Input)
	le.PutUint64(slab[8:], uint64(p.Size))
	le.PutUint64(slab[16:], uint64(p.Modified))
	le.PutUint32(slab[24:], uint32(n))
	le.PutUint16(slab[28:], uint16(len(p.Key)))
	le.PutUint16(slab[30:], uint16(len(p.ETag)))
	le.PutUint32(slab[32:], p.flags())
	le.PutUint32(slab[36:], 0)
	copy(slab[objectHeader:], p.Key)
	copy(slab[objectHeader+len(p.Key):], p.ETag)
	head := p.HeadSize()
	return slab[head : head+n]
}

func (p *Piece) flags() (f uint32) {
	if p.First {
		f |= flagFirst
	}
	if p.Last {
		f |= flagLast
	}
	if p.Unread {
		f |= flagUnread
	}
	if p.Sum {
		f |= flagSum
	}
	return f
}

// MarkUnread marks the piece whose header lies at the start of slab as one that could not be read.
func MarkUnread(slab []byte) {
	f := binary.LittleEndian.Uint32(slab[32:])
	binary.LittleEndian.PutUint32(slab[32:], f|flagUnread)
}

// nextPiece takes the first piece off slab. The data stays in the slab.
func nextPiece(slab []byte) (p Piece, data, rest []byte, err error) {
	le := binary.LittleEndian
	if len(slab) < objectHeader {
		return p, nil, nil, fmt.Errorf("%w: %d bytes at the end of a slab", ErrProtocol, len(slab))
	}
	f := le.Uint32(slab[32:])
	p = Piece{
		Index: le.Uint32(slab[0:]), Input: le.Uint32(slab[4:]),
		Size: int64(le.Uint64(slab[8:])), Modified: int64(le.Uint64(slab[16:])),
		First: f&flagFirst != 0, Last: f&flagLast != 0, Unread: f&flagUnread != 0, Sum: f&flagSum != 0,
	}
	n, k, e := int(le.Uint32(slab[24:])), int(le.Uint16(slab[28:])), int(le.Uint16(slab[30:]))
	end := objectHeader + k + e + n
	if n > len(slab) || end > len(slab) {
		return p, nil, nil, fmt.Errorf("%w: piece of %d bytes in %d", ErrProtocol, end, len(slab))
	}
	p.Key = string(slab[objectHeader : objectHeader+k])
	p.ETag = string(slab[objectHeader+k : objectHeader+k+e])
	return p, slab[objectHeader+k+e : end : end], slab[end:], nil
}
