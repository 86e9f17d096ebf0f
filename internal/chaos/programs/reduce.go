package programs

import (
	"iter"
	"slices"

	"github.com/millrace/millrace/job/jsonvalue"
	"github.com/millrace/millrace/reducer"
)

// add is a sum that is no stock reducer.
func add() reducer.Reducer[int64, int64, int64] {
	return reducer.Reducer[int64, int64, int64]{
		Lift:   func(n int64) int64 { return n },
		Merge:  func(a, b int64) int64 { return a + b },
		Result: func(n int64) (int64, error) { return n, nil },
	}
}

func total(key string, values iter.Seq[int64], emit func(string, int64)) error {
	sum := int64(0)
	for v := range values {
		sum += v
	}
	emit(key, sum)
	return nil
}

func all(key string, values iter.Seq[string], emit func(string, string)) error {
	for v := range values {
		emit(key, v)
	}
	return nil
}

func top(key string, values iter.Seq[int64], emit func(string, jsonvalue.Of[[]int64])) error {
	var most []int64 // values come in their order
	for v := range values {
		most = append(most, v)
		if len(most) > Top {
			most = most[1:]
		}
	}
	slices.Reverse(most)
	emit(key, jsonvalue.Of[[]int64]{V: most})
	return nil
}

func distinct(key string, values iter.Seq[string], emit func(string, int64)) error {
	n, last := int64(0), ""
	for v := range values {
		if n == 0 || v != last {
			n++
		}
		last = v
	}
	emit(key, n)
	return nil
}

func pair(_ string, left, right *string) jsonvalue.Of[[2]*string] {
	return jsonvalue.Of[[2]*string]{V: [2]*string{left, right}}
}
