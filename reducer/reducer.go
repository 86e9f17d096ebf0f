// Package reducer says how the values of a key become one: reducers that come with Millrace, and the type of which users
// make their own.
//
// A Reducer is its own combiner, so that values are merged in any grouping and any order before they meet; the
// result is the same to the last bit. For this the stock reducers keep more than they show: integers are summed in 128 bits and
// an overflow is an error of the result, floats are summed exactly and rounded once, quantiles are counts, and what a top-k holds does not depend on
// what it has dropped.
package reducer

import (
	"cmp"
	"iter"
)

// A Reducer turns the values of a key into accumulators, merges these, and turns the last one into the result.
// Merge must be commutative and associative, may be given accumulators that were encoded and decoded in
// between, and may change and return either of its arguments. All three must depend on their arguments alone.
//
// With a Group the accumulators of a key are not merged: Group is given all of them, in the order of their encodings, and takes the place of Merge and
// Result. With neither, each value is a result of its own (see [Identity]).
type Reducer[V, A, R any] struct {
	Lift   func(V) A
	Merge  func(a, b A) A
	Result func(A) (R, error)
	Group  func(iter.Seq[A]) (R, error)

	stock string
}

// Stock returns the name by which [Lookup] finds the same reducer on encoded accumulators; "" if it is the user's own.
func (r Reducer[V, A, R]) Stock() string { return r.stock }

// An Integer is any integer type.
type Integer interface {
	~int | ~int8 | ~int16 | ~int32 | ~int64 | ~uint | ~uint8 | ~uint16 | ~uint32 | ~uint64 | ~uintptr
}

// A Float is any floating-point type.
type Float interface{ ~float32 | ~float64 }

// A Number is an Integer or a Float.
type Number interface{ Integer | Float }

// Sum adds integers. A sum that its type cannot hold is an error.
func Sum[V Integer]() Reducer[V, Total, V] {
	return Reducer[V, Total, V]{
		Lift:   totalOf[V],
		Merge:  Total.add,
		Result: func(t Total) (V, error) { return integer[V](t, "sum") },
		stock:  "sum:" + kindOf[V](),
	}
}

// SumFloat adds floats exactly and rounds the sum once. A NaN, infinities of both signs, and a sum that is out of range
// are errors.
func SumFloat[V Float]() Reducer[V, Exact, float64] {
	return Reducer[V, Exact, float64]{
		Lift:   func(v V) Exact { return exactFloat(float64(v)) },
		Merge:  Exact.add,
		Result: func(e Exact) (float64, error) { return e.quotient(1, "sum") },
		stock:  "sum:float64",
	}
}

// Count counts values.
func Count[V any]() Reducer[V, Total, int64] {
	return Reducer[V, Total, int64]{
		Lift:   func(V) Total { return Total{lo: 1} },
		Merge:  Total.add,
		Result: func(t Total) (int64, error) { return integer[int64](t, "count") },
		stock:  "count",
	}
}

// Min returns the smallest value. A NaN is refused when it is emitted.
func Min[V cmp.Ordered]() Reducer[V, V, V] {
	return Reducer[V, V, V]{Lift: same[V], Merge: func(a, b V) V { return min(a, b) }, Result: result[V], stock: "min:" + kindOf[V]()}
}

// Max returns the largest value. A NaN is refused when it is emitted.
func Max[V cmp.Ordered]() Reducer[V, V, V] {
	return Reducer[V, V, V]{Lift: same[V], Merge: func(a, b V) V { return max(a, b) }, Result: result[V], stock: "max:" + kindOf[V]()}
}

// Mean returns the arithmetic mean, correctly rounded from the exact sum. A NaN and infinities of both signs are errors.
func Mean[V Number]() Reducer[V, Average, float64] {
	return Reducer[V, Average, float64]{
		Lift:   func(v V) Average { return Average{n: 1, sum: exact(v)} },
		Merge:  Average.add,
		Result: func(a Average) (float64, error) { return a.sum.quotient(a.n, "mean") },
		stock:  "mean",
	}
}

// Identity reduces nothing: each value is a result, sorted by key and value.
func Identity[V any]() Reducer[V, V, V] {
	return Reducer[V, V, V]{Lift: same[V], Result: result[V], stock: "identity:" + kindOf[V]()}
}

func same[V any](v V) V { return v }

func result[V any](v V) (V, error) { return v, nil }
