package reducer

import (
	"bytes"
	"errors"
	"iter"
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
	Inputs int // how many inputs it wants; 0: it does not matter
	// Lift appends the accumulator of one value that a foreign program wrote as text, as it stands in the line; input is the number of the
	// input that it is of. Errors do not quote the text.
	Lift func(dst, text []byte, input int) ([]byte, error)
	// Merge merges two accumulators. Of malformed ones it makes another, of which Reduce makes an error. It is nil where nothing
	// is merged: then each record is a result.
	Merge func(dst, a, b []byte) []byte
	// Reduce appends the result of an accumulator.
	Reduce func(dst, acc []byte) ([]byte, error)
	// Group, if it is not nil, takes the place of Merge and Reduce: it is given all accumulators of a key, ordered, and emits the results.
	// What it is given is valid until the next one, what it emits until emit returns.
	Group func(accs iter.Seq[[]byte], emit func(result []byte) error) error
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

// Lookup returns the stock reducer of that name, as Reducer.Stock has it: an operation and, where it matters, kinds of
// values and arguments, as in "sum:int64", "count", "top-k-by:int64:string(10)". The error says what is wrong with the name.
func Lookup(stock string) (*Native, error) {
	n, err := parseName(stock)
	if err != nil {
		return nil, err
	}
	switch n.op {
	case "histogram", "quantile", "quantiles":
		return lookupNumbers(&n)
	case "top-k", "top-k-by", "first", "last":
		return lookupEntries(&n)
	case "distinct", "distinct-approx", "concat", "join":
		return lookupGroups(&n)
	}
	if err := n.none(); err != nil {
		return nil, err
	}
	kind := strings.Join(n.kinds, ":")
	switch {
	case n.op == "count" && kind == "":
		return natively(Count[string](), liftOne, mergeTotals), nil
	case n.op == "mean" && kind == "":
		return natively(Mean[float64](), liftAverage, nil), nil
	case n.op == "sum" && kind == "float64":
		return natively(SumFloat[float64](), liftExact, nil), nil
	case n.op == "sum":
		if r := sum(kind); r != nil {
			return r, nil
		}
	case n.op == "identity", n.op == "min", n.op == "max":
		ordered := 1
		if n.op == "identity" {
			ordered = 0
		}
		types, err := n.typed(ordered, "int64")
		if err != nil {
			return nil, err
		}
		if kind == "" {
			kind = "int64"
		}
		r := &Native{Name: stockName(n.op, []string{kind}), Acc: types[0], Result: types[0], Reduce: reduceSame, Lift: liftOf(types[0])}
		switch n.op {
		case "min":
			r.Merge = mergeMin
		case "max":
			r.Merge = mergeMax
		}
		return r, nil
	case n.op == "count", n.op == "mean":
	default:
		return nil, errors.New(strconv.Quote(n.op) + " is none of " + Operations)
	}
	return nil, errors.New(n.op + ": it has none for values of type " + strconv.Quote(kind))
}

// Operations are the operations of stock reducers, for people.
const Operations = "sum, count, min, max, mean, top-k, top-k-by, first, last, distinct, distinct-approx, histogram, quantile, quantiles, " +
	"concat, join, identity"

// LookupText returns the reducer that a user names for a program that writes text. Kinds of values may be left out there: it
// is int64 for sum, min, max, top-k and the order of top-k-by, and string for what else is not a number. What first and last are sorted by must be said.
func LookupText(text string) (*Native, error) {
	n, err := parseName(text)
	if err != nil {
		return nil, err
	}
	switch {
	case n.op == "sum" && len(n.kinds) == 0:
		n.kinds = []string{"int64"}
	case n.op == "identity" && len(n.kinds) == 0:
		n.kinds = []string{"string"}
	case (n.op == "first" || n.op == "last") && len(n.kinds) == 0:
		return nil, errors.New(n.op + ": say of what type the field is that it sorts by, as in " + n.op + ":string or " + n.op + ":int64")
	default:
		return Lookup(text)
	}
	return Lookup(stockName(n.op, n.kinds, n.args...))
}

// lookupNumbers is Lookup for what takes numbers.
func lookupNumbers(n *name) (*Native, error) {
	if _, err := n.typed(0); err != nil {
		return nil, err
	}
	var g *gatherer
	var lift func(dst []byte, f float64) ([]byte, error)
	var stock string
	result := guest.JSON
	if n.op == "histogram" {
		bounds, err := n.floats(1, maxBounds)
		if err != nil {
			return nil, err
		}
		h, err := newHistogram(bounds)
		if err != nil {
			return nil, err
		}
		g, lift, stock = h.gatherer(), h.lift, h.name()
	} else {
		most := maxQuantiles
		if n.op == "quantile" {
			most, result = 1, guest.Float
		}
		qs, err := n.floats(1, most)
		if err != nil {
			return nil, err
		}
		s, err := newSketch(qs, n.op == "quantile")
		if err != nil {
			return nil, err
		}
		g, lift, stock = s.gatherer(), s.lift, s.name()
	}
	return g.native(stock, result, func(dst, text []byte) ([]byte, error) {
		f, err := strconv.ParseFloat(string(text), 64)
		if err != nil || f != f {
			return dst, guest.NotText("float64", err)
		}
		return lift(dst, f)
	}), nil
}

// lookupEntries is Lookup for what sorts values.
func lookupEntries(n *name) (*Native, error) {
	standard := []string{"int64", "string"}
	if n.op == "top-k" {
		standard = standard[:1]
	}
	types, err := n.typed(1, standard...)
	if err != nil {
		return nil, err
	}
	kinds := append(n.kinds, standard[len(n.kinds):]...)
	e := entries{order: types[0], values: len(types) == 2}
	if e.values {
		e.value = types[1]
	}
	if n.op == "first" || n.op == "last" {
		if err := n.none(); err != nil {
			return nil, err
		}
		x := &ends{e, n.op == "last"}
		return x.gatherer().native(x.name(kinds...), e.value, x.lift), nil
	}
	k, err := n.count(maxTop)
	if err != nil {
		return nil, err
	}
	t := &top{e, k}
	return t.gatherer().native(t.name(kinds...), guest.JSON, t.lift), nil
}

// lookupGroups is Lookup for what sees all values of a key, and the sketch that takes its place.
func lookupGroups(n *name) (*Native, error) {
	standard := []string{"string"}
	if n.op == "concat" || n.op == "join" {
		standard = nil
	} else if err := n.none(); err != nil {
		return nil, err
	}
	types, err := n.typed(0, standard...)
	if err != nil {
		return nil, err
	}
	switch n.op {
	case "distinct":
		kinds := append(n.kinds, standard[len(n.kinds):]...)
		return &Native{
			Name: stockName(n.op, kinds), Acc: types[0], Result: guest.Int, Lift: liftOf(types[0]), Group: groupDistinct,
		}, nil
	case "distinct-approx":
		kinds := append(n.kinds, standard[len(n.kinds):]...)
		return new(registers).gatherer().native(stockName(n.op, kinds), guest.Int, liftRegister(types[0])), nil
	case "join":
		kind, err := n.joinKind()
		if err != nil {
			return nil, err
		}
		return &Native{
			Name: stockName(n.op, nil, string(kind)), Acc: guest.Bytes, Result: guest.JSON, Inputs: 2, Group: groupJoin(kind, maxJoinBytes),
			Lift: func(dst, text []byte, input int) ([]byte, error) {
				side := byte(0)
				if input == 0 {
					side = 1
				}
				return guest.AppendUnescaped(append(dst, side), text), nil
			},
		}, nil
	}
	if len(n.args) > 1 {
		return nil, errors.New(`reducer concat: want one separator, as in concat(", ")`)
	}
	sep := ","
	if len(n.args) == 1 {
		sep = n.args[0]
	}
	stock, err := concatName(sep)
	if err != nil {
		return nil, err
	}
	return &Native{
		Name: stock, Acc: guest.String, Result: guest.String, Lift: liftOf(guest.String),
		Group: func(values iter.Seq[[]byte], emit func([]byte) error) error {
			all, err := concat(sep, values)
			if err != nil {
				return err
			}
			return emit(all)
		},
	}, nil
}

// liftOf returns the Lift of accumulators that are values of type t.
func liftOf(t guest.Type) func(dst, text []byte, _ int) ([]byte, error) {
	return func(dst, text []byte, _ int) ([]byte, error) { return liftKind(dst, t, text) }
}

// sum returns the sum of values of that kind, nil if there is none.
func sum(kind string) *Native {
	switch kind {
	case "int64":
		return natively(Sum[int64](), liftInt, mergeTotals)
	case "int32":
		return natively(Sum[int32](), liftInt, mergeTotals)
	case "int16":
		return natively(Sum[int16](), liftInt, mergeTotals)
	case "int8":
		return natively(Sum[int8](), liftInt, mergeTotals)
	case "uint64":
		return natively(Sum[uint64](), liftUint, mergeTotals)
	case "uint32":
		return natively(Sum[uint32](), liftUint, mergeTotals)
	case "uint16":
		return natively(Sum[uint16](), liftUint, mergeTotals)
	case "uint8":
		return natively(Sum[uint8](), liftUint, mergeTotals)
	}
	return nil
}

// natively returns r on encoded accumulators. merge may be nil.
func natively[V, A, R any](r Reducer[V, A, R], lift func(dst, text []byte) ([]byte, error), merge func(dst, a, b []byte) []byte) *Native {
	acc, _ := guest.CodecOf[A]() // the stock accumulators and results all have codecs
	res, _ := guest.CodecOf[R]()
	if merge == nil {
		merge = func(dst, a, b []byte) []byte {
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
		}
	}
	return &Native{
		Name: r.stock, Acc: acc.Type, Result: res.Type, Merge: merge,
		Lift: func(dst, text []byte, _ int) ([]byte, error) { return lift(dst, text) },
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
