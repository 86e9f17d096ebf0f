// Hotkey emits many values of one key and sees that it gets them all, in order, one after the other. An object is two numbers: the first value
// and how many there are.
package main

import (
	"errors"
	"io"
	"iter"
	"strconv"
	"strings"

	"github.com/millrace/millrace/job"
	"github.com/millrace/millrace/mapper"
)

func main() { job.Main(job.MapGroup(values, count)) }

func values(obj *mapper.Object, emit func(string, string)) error {
	text, err := io.ReadAll(obj)
	if err != nil {
		return err
	}
	first, n, _ := strings.Cut(strings.TrimSpace(string(text)), " ")
	from, err := strconv.Atoi(first)
	if err != nil {
		return err
	}
	many, err := strconv.Atoi(n)
	for v := from; v < from+many; v++ {
		emit("hot", value(v))
	}
	return err
}

// value returns the v-th value: 32 bytes, in the order of v.
func value(v int) string {
	s := strconv.Itoa(v)
	return "value " + "00000000000000000000000000"[len(s):] + s
}

func count(key string, values iter.Seq[string], emit func(string, int)) error {
	n := 0
	for v := range values {
		if v != value(n) {
			return errors.New("value " + strconv.Itoa(n) + " is " + strconv.Quote(v))
		}
		n++
	}
	emit(key, n)
	return nil
}
