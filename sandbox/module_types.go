package sandbox

import (
	"bytes"
	"fmt"
	"strings"
)

// A valueType is the byte that stands for a type in the binary format (Core Specification 2.0, section 5.3), so that a list of types is
// a piece of the module. unknown is what code that cannot be reached finds on its stack.
type valueType = byte

const (
	unknown   valueType = 0
	i32       valueType = 0x7f
	i64       valueType = 0x7e
	f32       valueType = 0x7d
	f64       valueType = 0x7c
	v128      valueType = 0x7b
	funcref   valueType = 0x70
	externref valueType = 0x6f
)

var typeNames = [256]string{
	i32: "i32", i64: "i64", f32: "f32", f64: "f64", v128: "v128", funcref: "funcref", externref: "externref",
}

func isReference(t valueType) bool { return t == funcref || t == externref }

// A signature is the type of a function or block.
type signature struct {
	params, results []valueType
}

// parseSignature reads a signature in the short form of our tables: "iI:f" is (i32, i64) -> (f32). F is f64, v is v128.
func parseSignature(short string) signature {
	list := []byte(short)
	for i, c := range list {
		if t, ok := shortTypes[c]; ok {
			list[i] = t
		}
	}
	params, results, _ := bytes.Cut(list, []byte(":"))
	return signature{params, results}
}

var shortTypes = map[byte]valueType{'i': i32, 'I': i64, 'f': f32, 'F': f64, 'v': v128}

func (s signature) equal(t signature) bool {
	return bytes.Equal(s.params, t.params) && bytes.Equal(s.results, t.results)
}

func (s signature) String() string {
	return fmt.Sprintf("(%s) -> (%s)", typeList(s.params), typeList(s.results))
}

func typeList(list []valueType) string {
	var names []string
	for _, t := range list {
		names = append(names, typeNames[t])
	}
	return strings.Join(names, ", ")
}

// limits say how large a table or memory is at the start and may become. If the module does not say the second, most is what the
// specification allows.
type limits struct {
	least, most uint32
	bounded     bool // the module says most
}

type tableType struct {
	element valueType
	limits
}

type globalType struct {
	value   valueType
	mutable bool
}

// An externalKind says what is imported or exported.
type externalKind byte

const (
	externalFunction externalKind = iota
	externalTable
	externalMemory
	externalGlobal
)

func (k externalKind) String() string {
	return [...]string{"function", "table", "memory", "global"}[k]
}

// An importedThing is one import of a module. Functions have a signature.
type importedThing struct {
	from, name string
	kind       externalKind
	signature  signature
}

// An exportedThing is what an export names: the index in the space of its kind.
type exportedThing struct {
	kind  externalKind
	index int
}
