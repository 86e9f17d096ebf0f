// Package guest is the protocol between a runner and a guest that was written with the Go SDK, and the encoding of its
// keys and values. Guests link it, so it imports nothing heavy.
//
// # Protocol, version 3
//
// A guest is a process or a WASI command. Its environment is MILLRACE_ABI=<[ABI]> and MILLRACE_MODE, one of [Describe],
// [Map], [Reduce]; it has no arguments. It reads its stdin, answers on its stdout and exits 0; whatever it prints to
// stderr is its log. A u32 is big-endian, a uvarint and a varint (zigzag) are those of encoding/binary, and a string
// is a uvarint length and its bytes.
//
//	describe   stdin   nothing
//	           stdout  a Description as text, see [ParseDescription]
//
//	map        stdin   { [params] [partitions] [repeats] object { data | memory } end }   EOF ends the work
//	           stdout  { { [times] record | text | count } (ok | fail) }    one ok or fail for each object, in order
//
//	reduce     stdin   [params] { record } end                records ordered by key, then value; values are accumulators
//	           stdout  { record | count } (ok | fail)         values are results
//
//	params     'P' u32 length   { string name, string value } ordered by name; they hold from here on
//	partitions 'N' u32 4        u32 number of partitions, for a guest that partitions; it holds from here on
//	repeats    'Q' u32 0        the runner takes equal records of an object together, with times, and in any order; it holds from here on
//	object     'O' u32 length   string key, string URI, string ETag, varint size (-1: unknown),
//	                            varint modified (nanoseconds since 1970, the least int64: unknown)
//	data       'D' u32 length   bytes of the object
//	memory     'M' u32 8        u32 offset, u32 length: bytes of the object that lie in the memory which both share,
//	                            until the object is answered
//	end        'E' u32 0        of the object, or of the records
//	record     'R' uvarint key length, uvarint value length, key, value; before the value of a mapped record of a guest
//	                            that partitions, and counted in its length, u32 partition
//	times      'X' uvarint n    the record that follows was emitted n times, 1 at least
//	text       'T' string       whole lines of map-only output
//	count      'C' string name, varint n    add n to the job's counter
//	ok         'K' uvarint      number of records and texts of this object: it was mapped
//	fail       'F' string       reason: the object is bad; its records do not count
//
// A guest need not read an object to its end; it skips the rest before the next one. A guest that exits without ok or
// fail for an object has failed it, whatever its exit code. It may hold back what it answers until it reads on; a runner may
// give objects ahead, before it has the answers to those before.
package guest

import "errors"

// ABI marks a program that speaks this protocol: the runner finds the marker in the program's bytes and sets it as
// the value of MILLRACE_ABI, by which job.Main knows that it runs inside a runner.
// (A variable, so that it stands in the program's data in one piece.)
var ABI = "millrace-guest-abi/3 8c5e2f6d41"

// Names of the environment of a guest.
const (
	EnvABI  = "MILLRACE_ABI"
	EnvMode = "MILLRACE_MODE"
	// EnvOnce, if it is set in mode [Map], says that there is one object: the guest need not ask for more.
	EnvOnce = "MILLRACE_ONCE"
	// EnvMemory, if it is set, is the size in bytes of the memory that the guest finds behind its descriptor [MemoryFile].
	EnvMemory = "MILLRACE_MEMORY"
)

// MemoryFile is the descriptor of the memory that runner and guest share.
const MemoryFile = 3

// A Mode is what a runner wants of a guest: the value of MILLRACE_MODE.
type Mode string

// Modes.
const (
	Describe Mode = "describe"
	Map      Mode = "map"
	Reduce   Mode = "reduce"
)

// Env returns the environment in which a guest is run in mode m.
func Env(m Mode) []string { return []string{EnvABI + "=" + ABI, EnvMode + "=" + string(m)} }

// ErrProtocol says that a stream between runner and guest is not what the protocol says; the text names what.
var ErrProtocol = errors.New("guest protocol")

// Kinds of frames.
const (
	kindParams = 'P'
	kindParts  = 'N'
	kindRepeat = 'Q'
	kindObject = 'O'
	kindData   = 'D'
	kindMemory = 'M'
	kindEnd    = 'E'
	kindRecord = 'R'
	kindTimes  = 'X'
	kindText   = 'T'
	kindCount  = 'C'
	kindOK     = 'K'
	kindFail   = 'F'
)

// Bounds of what is not a key, a value or an object's body.
const (
	maxParams = 1 << 20  // bytes of all parameters
	maxObject = 64 << 10 // bytes of an object's metadata
	maxName   = 256      // bytes of a counter's name
	maxReason = 4 << 10  // bytes of a reason; guests cut longer ones
)

// A Type says how a key, accumulator or result is encoded and how it is shown as text.
type Type byte

// Types. Keys are order-preserving.
const (
	String Type = iota // raw bytes
	Bytes              // raw bytes
	Int                // int64: 8 bytes, big-endian, sign flipped
	Uint               // uint64: 8 bytes, big-endian
	Float              // float64: 8 bytes, ordered (sign handled), NaN refused
	Bool               // 1 byte, 0 or 1
	Binary             // a BinaryMarshaler's bytes; shown in base64
	JSON               // a JSON document; shown as it is
)

var typeNames = [...]string{"string", "bytes", "int", "uint", "float", "bool", "binary", "json"}

// String returns the name of t: "string", "int", ….
func (t Type) String() string {
	if int(t) < len(typeNames) {
		return typeNames[t]
	}
	return "unknown"
}

// ParseType is the inverse of String.
func ParseType(name string) (Type, bool) {
	for i, n := range typeNames {
		if n == name {
			return Type(i), true
		}
	}
	return 0, false
}
