// Package hostfn is what guests and the host agree on about the functions of the import module "millrace". docs/host-functions.md
// describes them.
package hostfn

// A Code is what a function answers: an error if it is negative.
type Code = int32

// Errors.
const (
	OK       Code = 0
	Fault    Code = -1 // a pointer or length goes beyond the memory
	Invalid  Code = -2 // an argument has no meaning: unknown handles, kinds or flags; output that overlaps input
	Syntax   Code = -3 // of a pattern
	Limit    Code = -4 // all patterns together take too much memory
	Corrupt  Code = -5 // data that is not what it is said to be
	TooSmall Code = -6 // there is more output than room for it
)

// Flags of search_open_1.
const (
	Fixed uint32 = 1 << iota // the pattern is plain text
	Fold                     // case does not matter
	Word                     // between characters that belong to no word
)

// Flags of search_1.
const Lines uint32 = 1 // find lines, not each match in them

// Sizes of what lies in a guest's memory, all 32-bit numbers.
const (
	CursorSize = 12 // line, place in it, end of the last match
	FoundSize  = 16 // start and end of a line, start and end of a match
)
