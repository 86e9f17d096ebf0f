// Package builtin holds the programs that are compiled into millrace: fields, grep, sort and words.
// They run in the jail like everybody's code, for they read hostile mail.
package builtin

import (
	"github.com/millrace/millrace/internal/guest"
	"github.com/millrace/millrace/mapper"
)

// A Program is a builtin: its name, the shape of what it emits and how to make an instance of it.
type Program struct {
	Name string
	Key  guest.Type // of emitted keys
	Acc  guest.Type // of emitted values
	// Stock is the reducer of its records by name ("sum:int64"), "" for a program that only prints text: it is map-only, or a job names
	// a reducer of the lines.
	Stock string
	// New checks params and returns an instance that one slot uses for many objects, one at a time.
	// An error names the parameter and is shown to the user as it is.
	New func(params map[string]string) (Mapper, error)
}

// A Mapper maps one object after another. It keeps no state between objects that changes what it emits.
type Mapper interface {
	// Map reads obj and emits. An error fails that object only.
	Map(obj *mapper.Object, out Emitter) error
}

// An Emitter takes what a mapper emits. Slices passed to it are copied before it returns. The runner lets what was emitted
// go only after Map returned nil.
type Emitter interface {
	// Record emits a record, key and value encoded as the program's types say.
	Record(key, value []byte) error
	// Text emits raw bytes of map-only output: whole lines.
	Text(p []byte) error
	// Count adds n to the job's counter of that name.
	Count(name string, n int64)
}
