// Hostile counts words, unless the first word of an object tells it to misbehave.
package main

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"math"
	"net"
	"os"
	"strings"
	"time"

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
		if err := misbehave(words, stdout, emit); err != nil {
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

// misbehave does what the first word says.
func misbehave(words []string, stdout io.Writer, emit func(string, int64)) error {
	switch words[0] {
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
	case "negative": // a record whose key has a negative length
		_, _ = stdout.Write(append([]byte{'R'}, binary.AppendUvarint(nil, math.MaxUint64)...))
	case "long": // one whose key is longer than all memory
		_, _ = stdout.Write(append([]byte{'R'}, binary.AppendUvarint(nil, 1<<40)...))
	case "empties":
		frames := bytes.Repeat([]byte{'R', 0, 8, 0x80, 0, 0, 0, 0, 0, 0, 0}, 1000) // empty keys, zeros
		for range 1_000_000 {
			_, _ = stdout.Write(frames)
		}
	case "bytes": // keys are bytes
		emit("a\x00b\xff\xfe", 1)
	case "descriptors":
		descriptors(emit)
	case "spy":
		spy(words[1:], emit)
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

// spy tries to reach files and addresses, and counts those that it has reached.
func spy(what []string, emit func(string, int64)) {
	for _, w := range what {
		if network, address, ok := strings.Cut(w, "="); ok {
			if _, err := net.DialTimeout(network, address, 100*time.Millisecond); err == nil {
				emit("REACHED "+w, 1)
			}
			continue
		}
		if _, err := os.ReadFile(w); err == nil {
			emit("READ "+w, 1)
		}
		if err := os.WriteFile(w, []byte("x"), 0o666); err == nil {
			emit("WROTE "+w, 1)
		}
	}
	for _, v := range os.Environ() {
		switch name, _, _ := strings.Cut(v, "="); {
		case strings.HasPrefix(name, "MILLRACE_"):
		case name == "GOGC", name == "GOMEMLIMIT": // of Go's collector, as the runner says
		default:
			emit("VARIABLE "+v, 1)
		}
	}
}
