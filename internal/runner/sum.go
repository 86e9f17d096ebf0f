package runner

import (
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/zeebo/xxh3"

	"github.com/millrace/millrace/sandbox"
)

// A Sum is what became of one object, for comparing it with what became of it another time.
type Sum struct {
	Object   uint32 `json:"object"` // index in its split
	End      End    `json:"end"`
	Exit     int    `json:"exit"`    // of the guest
	Records  int64  `json:"records"` // emitted
	Digest   string `json:"digest"`  // of the records, in order
	Text     int64  `json:"text"`    // bytes of output
	TextHash string `json:"text_hash"`
	Counters string `json:"counters"` // hash of what it counted
}

// An End is how the mapping of an object ended.
type End string

// Ends.
const (
	EndWell  End = "success"
	EndError End = "an error"     // that the mapper returned, or in what it emitted
	EndExit  End = "an exit"      // with a code that does not mean success
	EndTrap  End = "a crash"      // a trap, a panic or a signal
	EndLimit End = "a limit"      // other than those below
	EndTime  End = "a time limit" // which a slow machine reaches sooner
	EndStack End = "a full stack" // of which engines have more or less
)

// Open reports whether s says nothing of the program: how it ended depends on the machine or the engine.
func (s *Sum) Open() bool { return s.End == EndTime || s.End == EndStack }

// Differs says what o, of the same object, has otherwise than s; "" if it has all the same. What was emitted before a failure does not count.
func (s *Sum) Differs(o *Sum) string {
	switch {
	case s.End != o.End:
		return fmt.Sprintf("ended with %s, then with %s", s.End, o.End)
	case s.Exit != o.Exit:
		return fmt.Sprintf("exited %d, then %d", s.Exit, o.Exit)
	case s.End != EndWell:
		return ""
	case s.Records != o.Records:
		return fmt.Sprintf("%d records, then %d", s.Records, o.Records)
	case s.Digest != o.Digest:
		return fmt.Sprintf("%d records, then as many others or in another order", s.Records)
	case s.Text != o.Text:
		return fmt.Sprintf("%d bytes of output, then %d", s.Text, o.Text)
	case s.TextHash != o.TextHash:
		return fmt.Sprintf("%d bytes of output, then as many others", s.Text)
	case s.Counters != o.Counters:
		return "other counters"
	}
	return ""
}

// sum tells the agent what became of the object that was mapped last.
func (s *server) sum(object uint32, exit int, err error) error {
	var counters []byte
	for _, name := range slices.Sorted(maps.Keys(s.stage.counts)) {
		counters = fmt.Appendf(counters, "%q %d\n", name, s.stage.counts[name])
	}
	return s.conn.SendJSON(KindSum, Sum{
		Object: object, End: endOf(err), Exit: exit,
		Records: s.stage.records + s.stage.lines, Digest: hash(s.stage.filled()...),
		Text: int64(len(s.stage.text)), TextHash: hash(s.stage.text), Counters: hash(counters),
	})
}

// hash returns that of parts, one after another.
func hash(parts ...[]byte) string {
	h := xxh3.New()
	for _, p := range parts {
		_, _ = h.Write(p)
	}
	sum := h.Sum128().Bytes()
	return hex.EncodeToString(sum[:])
}

func endOf(err error) End {
	for _, e := range []struct {
		err error
		end End
	}{
		{nil, EndWell}, {sandbox.ErrTime, EndTime}, {sandbox.ErrLimit, EndLimit}, {sandbox.ErrStack, EndStack},
		{sandbox.ErrTrap, EndTrap}, {sandbox.ErrExit, EndExit},
	} {
		if errors.Is(err, e.err) {
			return e.end
		}
	}
	return EndError
}
