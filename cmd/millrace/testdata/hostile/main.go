// Hostile counts words, unless the first word of an object tells it to misbehave.
package main

import (
	"errors"
	"io"
	"os"
	"strings"

	"github.com/millrace/millrace/job"
	"github.com/millrace/millrace/mapper"
	"github.com/millrace/millrace/reducer"
)

func main() {
	stdout := os.Stdout // before the protocol takes it
	job.Main(job.MapReduce(func(obj *mapper.Object, emit func(string, int64)) error {
		text, err := io.ReadAll(obj)
		if err != nil {
			return err
		}
		words := strings.Fields(string(text))
		emit("seen", 1)
		if err := misbehave(words[0], stdout, emit); err != nil {
			return err
		}
		for _, w := range words {
			emit(w, 1)
		}
		return nil
	}, reducer.Sum[int64]()))
}

var (
	held  [][]byte
	calls int
)

// misbehave does what verb says.
func misbehave(verb string, stdout io.Writer, emit func(string, int64)) error {
	switch verb {
	case "error":
		return errors.New("a bad object")
	case "panic":
		panic("ouch")
	case "exit":
		os.Exit(7)
	case "vanish": // says nothing of the object
		os.Exit(0)
	case "loop":
		for i := 0; ; i++ {
			held = held[:i&0]
		}
	case "chatter":
		for {
			_, _ = os.Stderr.WriteString(strings.Repeat("chatter", 1000) + "\n")
		}
	case "flood":
		for {
			emit("flood", 1)
		}
	case "tally":
		if calls++; calls == 1 {
			emit("first", 1)
		}
	case "many": // answers for objects that it was not given
		_, _ = io.WriteString(stdout, strings.Repeat("K\x00", 100))
	case "garbage":
		_, _ = stdout.Write([]byte(strings.Repeat("\xff", 100)))
	case "memory":
		for {
			p := make([]byte, 4<<20)
			for i := 0; i < len(p); i += 4096 {
				p[i] = 1
			}
			held = append(held, p)
		}
	}
	return nil
}
