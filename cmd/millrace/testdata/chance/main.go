// Chance emits what it draws by lot, by the clock and by the order of maps, when it maps and when it reduces.
package main

import (
	"crypto/rand"
	"fmt"
	"io"
	"iter"
	"os"
	"time"

	"github.com/millrace/millrace/job"
	"github.com/millrace/millrace/mapper"
)

func main() { job.Main(job.MapGroup(look, again)) }

func look(obj *mapper.Object, emit func(string, string)) error {
	text, err := io.ReadAll(obj)
	if err != nil {
		return err
	}
	emit(obj.Key, draw())
	emit(obj.Key, fmt.Sprintf("%q %q", os.Args, os.Environ()))
	words := map[string]bool{"time": true, "tide": true, "wind": true, "rain": true}
	for w := range words {
		emit(string(text), w)
	}
	return nil
}

func again(key string, values iter.Seq[string], emit func(string, string)) error {
	all := draw()
	for v := range values {
		all += ", " + v
	}
	emit(key, all)
	return nil
}

// draw draws a lot.
func draw() string {
	var b [8]byte
	_, _ = rand.Read(b[:])
	return fmt.Sprintf("%x at %d", b, time.Now().UnixNano())
}
