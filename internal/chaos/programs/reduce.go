package programs

import (
	"bytes"
	"iter"
	"os"
	"slices"
	"strconv"

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

func top(key string, values iter.Seq[int64], emit func(string, reducer.Document)) error {
	var most []int64 // values come in their order
	for v := range values {
		most = append(most, v)
		if len(most) > Top {
			most = most[1:]
		}
	}
	list := []byte{'['}
	for _, v := range slices.Backward(most) {
		if len(list) > 1 {
			list = append(list, ',')
		}
		list = strconv.AppendInt(list, v, 10)
	}
	emit(key, append(list, ']'))
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

// misbehave does to its process what the first value of a key says.
func misbehave(key string, values iter.Seq[string], emit func(string, string)) error {
	var held [][]byte
	for what := range values {
		switch what {
		case "exit":
			os.Exit(3)
		case "loop":
			for n := 0; n >= 0; n = (n + 1) & 0xffff { //nolint:revive // it never ends
			}
		case "memory":
			for {
				held = append(held, bytes.Repeat([]byte{1}, 1<<20))
			}
		}
		emit(key, what+strconv.Itoa(len(held)))
	}
	return nil
}

// pair returns a list of both. Lines hold nothing that JSON writes otherwise than Go.
func pair(_ string, left, right *string) reducer.Document {
	text := func(s *string) string {
		if s == nil {
			return "null"
		}
		return strconv.Quote(*s)
	}
	return reducer.Document("[" + text(left) + "," + text(right) + "]")
}
