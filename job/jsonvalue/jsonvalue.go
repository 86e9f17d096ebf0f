// Package jsonvalue lets values of any Go type be emitted, as JSON. It is a package of its own since encoding/json adds a megabyte or so
// to a WebAssembly module.
package jsonvalue

import "encoding/json"

// An Of is a value or result of a job, carried and written as JSON by the rules of encoding/json. Equal values have equal
// encodings as far as encoding/json sees to it; it orders the keys of maps.
type Of[T any] struct{ V T }

// MarshalJSON encodes V.
func (o Of[T]) MarshalJSON() ([]byte, error) { return json.Marshal(o.V) }

// UnmarshalJSON decodes V.
func (o *Of[T]) UnmarshalJSON(p []byte) error { return json.Unmarshal(p, &o.V) }
