package reducer

import (
	"bytes"
	"reflect"
	"strconv"
	"strings"

	"github.com/millrace/millrace/internal/guest"
)

// A Native is a stock reducer on encoded values: what a runner merges with, without entering the guest. Its functions keep no
// part of their arguments, append to dst, which does not overlap them, and may be called concurrently.
type Native struct {
	Name   string
	Acc    guest.Type
	Result guest.Type
	// Lift appends the accumulator of one value that a foreign program wrote as text. Errors do not quote the text.
	Lift func(dst, text []byte) ([]byte, error)
	// Merge merges two accumulators. Of malformed ones it makes another, of which Reduce makes an error. It is nil where nothing
	// is merged: then each record is a result.
	Merge func(dst, a, b []byte) []byte
	// Reduce appends the result of an accumulator.
	Reduce func(dst, acc []byte) ([]byte, error)
}

// kind is a kind of value in the names of natives and the type that encodes it.
var kinds = [...]struct {
	name string
	typ  guest.Type
}{
	{"int64", guest.Int}, {"int32", guest.Int}, {"int16", guest.Int}, {"int8", guest.Int},
	{"uint64", guest.Uint}, {"uint32", guest.Uint}, {"uint16", guest.Uint}, {"uint8", guest.Uint},
	{"float64", guest.Float}, {"float32", guest.Float}, {"string", guest.String},
	{"bytes", guest.Bytes}, {"bool", guest.Bool}, {"binary", guest.Binary}, {"json", guest.JSON},
}

// kindOf returns the name of V's kind, which for types that no codec encodes is "".
func kindOf[V any]() string {
	c, err := guest.CodecOf[V]()
	if err != nil {
		return ""
	}
	switch c.Type {
	case guest.Int, guest.Uint, guest.Float:
		t := reflect.TypeFor[V]()
		return c.Type.String() + strconv.Itoa(t.Bits())
	}
	return c.Type.String()
}

// Lookup returns the stock reducer of that name, as Reducer.Stock has it: an operation and, where it matters, a kind of
// value, as in "sum:int64", "min:string", "count".
func Lookup(name string) (*Native, bool) {
	op, kind, _ := strings.Cut(name, ":")
	switch name {
	case "count":
		n := natively(Count[string](), liftOne)
		n.Merge = mergeTotals
		return n, true
	case "mean":
		return natively(Mean[float64](), liftAverage), true
	case "sum:float64":
		return natively(SumFloat[float64](), liftExact), true
	}
	if op == "sum" {
		n, ok := sum(kind)
		if ok {
			n.Merge = mergeTotals
		}
		return n, ok
	}
	for _, k := range kinds {
		if k.name != kind {
			continue
		}
		n := &Native{Name: name, Acc: k.typ, Result: k.typ, Reduce: reduceSame}
		n.Lift = func(dst, text []byte) ([]byte, error) { return guest.ParseText(dst, k.typ, text) }
		ordered := k.typ <= guest.Float && k.typ != guest.Bytes
		switch {
		case op == "identity":
			return n, true
		case op == "min" && ordered:
			n.Merge = mergeMin
			return n, true
		case op == "max" && ordered:
			n.Merge = mergeMax
			return n, true
		}
	}
	return nil, false
}

// LookupText returns the reducer that a user names for a program that writes text. Beside the full names of Lookup these are
// sum, min and max (of 64-bit integers), count, mean, and identity (of strings).
func LookupText(name string) (*Native, bool) {
	switch name {
	case "sum", "min", "max":
		name += ":int64"
	case "identity":
		name += ":string"
	}
	return Lookup(name)
}

func sum(kind string) (*Native, bool) {
	switch kind {
	case "int64":
		return natively(Sum[int64](), liftInt), true
	case "int32":
		return natively(Sum[int32](), liftInt), true
	case "int16":
		return natively(Sum[int16](), liftInt), true
	case "int8":
		return natively(Sum[int8](), liftInt), true
	case "uint64":
		return natively(Sum[uint64](), liftUint), true
	case "uint32":
		return natively(Sum[uint32](), liftUint), true
	case "uint16":
		return natively(Sum[uint16](), liftUint), true
	case "uint8":
		return natively(Sum[uint8](), liftUint), true
	}
	return nil, false
}

// natively returns r on encoded accumulators.
func natively[V, A, R any](r Reducer[V, A, R], lift func(dst, text []byte) ([]byte, error)) *Native {
	acc, _ := guest.CodecOf[A]() // the stock accumulators and results all have codecs
	res, _ := guest.CodecOf[R]()
	return &Native{
		Name: r.stock, Acc: acc.Type, Result: res.Type, Lift: lift,
		Merge: func(dst, a, b []byte) []byte {
			x, err := acc.Decode(a)
			if err != nil {
				return dst
			}
			y, err := acc.Decode(b)
			if err != nil {
				return dst
			}
			dst, _ = acc.Append(dst, r.Merge(x, y))
			return dst
		},
		Reduce: func(dst, p []byte) ([]byte, error) {
			a, err := acc.Decode(p)
			if err != nil {
				return dst, err
			}
			v, err := r.Result(a)
			if err != nil {
				return dst, err
			}
			return res.Append(dst, v)
		},
	}
}

func reduceSame(dst, acc []byte) ([]byte, error) { return append(dst, acc...), nil }

// Encodings of ordered types are ordered as their values.
func mergeMin(dst, a, b []byte) []byte {
	if bytes.Compare(a, b) <= 0 {
		return append(dst, a...)
	}
	return append(dst, b...)
}

func mergeMax(dst, a, b []byte) []byte {
	if bytes.Compare(a, b) >= 0 {
		return append(dst, a...)
	}
	return append(dst, b...)
}

func liftOne(dst, _ []byte) ([]byte, error) { return append(dst, 2), nil } // Total of 1

func liftInt(dst, text []byte) ([]byte, error) {
	n, err := strconv.ParseInt(string(text), 10, 64)
	if err != nil {
		return dst, guest.NotText("int64", err)
	}
	return totalOf(n).append(dst), nil
}

func liftUint(dst, text []byte) ([]byte, error) {
	n, err := strconv.ParseUint(string(text), 10, 64)
	if err != nil {
		return dst, guest.NotText("uint64", err)
	}
	return totalOf(n).append(dst), nil
}

// parseExact reads a number: an integer of 64 bits exactly, everything else as a float64.
func parseExact(text []byte) (Exact, error) {
	if n, err := strconv.ParseInt(string(text), 10, 64); err == nil {
		return exact(n), nil
	}
	f, err := strconv.ParseFloat(string(text), 64)
	if err == nil && f != f {
		err = guest.ErrNaN
	}
	if err != nil {
		return Exact{}, guest.NotText("float64", err)
	}
	return exactFloat(f), nil
}

func liftExact(dst, text []byte) ([]byte, error) {
	e, err := parseExact(text)
	if err != nil {
		return dst, err
	}
	return e.AppendBinary(dst)
}

func liftAverage(dst, text []byte) ([]byte, error) {
	e, err := parseExact(text)
	if err != nil {
		return dst, err
	}
	return Average{n: 1, sum: e}.AppendBinary(dst)
}
