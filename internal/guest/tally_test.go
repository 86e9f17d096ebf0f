package guest

import (
	"bytes"
	"fmt"
	"maps"
	"math/rand/v2"
	"strings"
	"testing"
)

// A told is a Handler that adds up what it is told of one object.
type told struct {
	nothing
	records map[[2]string]int64
	calls   int
}

func (h *told) Records(key, value []byte, n int64) error {
	h.records[[2]string{string(key), string(value)}] += n
	h.calls++
	return nil
}

// A counting emits records with leave to repeat, and knows what it emitted of the object under way.
type counting struct {
	*Answers
	stdout  bytes.Buffer
	records map[[2]string]int64
}

func newCounting() *counting {
	c := &counting{records: make(map[[2]string]int64)}
	c.Answers = NewAnswers(&c.stdout)
	c.repeats = true
	return c
}

func (c *counting) emit(t *testing.T, key, value string) {
	if err := c.Record([]byte(key), []byte(value)); err != nil {
		t.Fatal(err)
	}
	c.records[[2]string{key, value}]++
}

// end ends an object and returns what was sent of it, and how many records or repetitions of one the runner took.
func (c *counting) end(t *testing.T) (sent string, calls int) {
	t.Helper()
	c.OK()
	c.Flush()
	sent = c.stdout.String()
	c.stdout.Reset()
	h := &told{records: make(map[[2]string]int64)}
	r := NewReplies(h, 1, Bounds{})
	for p := sent; len(p) > 0; {
		n := min(len(p), 1000)
		if _, err := r.Write([]byte(p[:n])); err != nil {
			t.Fatal(err)
		}
		p = p[n:]
	}
	if err := r.Close(); err != nil {
		t.Error(err)
	}
	if !maps.Equal(h.records, c.records) {
		t.Errorf("the runner was told of %d different records, and %d were emitted, or not as often", len(h.records), len(c.records))
	}
	clear(c.records)
	return sent, h.calls
}

// Records that are equal go out together, and each as often as it was emitted; the same records always in the same way, whatever the object before was.
func TestTally(t *testing.T) {
	const most = tallyAfter + 100_000
	long := strings.Repeat("x", tallyRecord)
	for _, tt := range []struct {
		name   string
		record func(i int, r *rand.Rand) (key, value string)
		least  int // replies
		most   int
	}{
		{"one", func(int, *rand.Rand) (string, string) { return "k", "v" }, tallyAfter + 2, tallyAfter + 9},
		{"empty", func(int, *rand.Rand) (string, string) { return "", "" }, tallyAfter + 2, tallyAfter + 9},
		{"words", func(_ int, r *rand.Rand) (string, string) { return fmt.Sprint(int(r.ExpFloat64() * 500)), "1" }, tallyAfter + 2000, tallyAfter + 20_000},
		{"too many", func(_ int, r *rand.Rand) (string, string) { return fmt.Sprint(int(r.ExpFloat64() * 5000)), "1" }, tallyAfter + tallyRecords, most * 2 / 3},
		{"different", func(i int, _ *rand.Rand) (string, string) { return fmt.Sprint(i), "" }, most, most},
		{"long", func(int, *rand.Rand) (string, string) { return long, "v" }, most, most},
		{"as long as can be", func(i int, _ *rand.Rand) (string, string) { return fmt.Sprint(1000+i%6000) + long[5:], "v" }, tallyAfter + 6000, most / 2},
		{"one cut at each byte", func(i int, _ *rand.Rand) (string, string) { return "keyvalue"[:i%9], "keyvalue"[i%9:] }, tallyAfter + 18, tallyAfter + 90},
	} {
		c := newCounting()
		var first string
		for round := range 2 {
			r := rand.New(rand.NewPCG(1, 2))
			for i := range most {
				key, value := tt.record(i, r)
				c.emit(t, key, value)
			}
			sent, n := c.end(t)
			if n < tt.least || n > tt.most {
				t.Errorf("%s: %d replies about %d records, want %d to %d", tt.name, n, most, tt.least, tt.most)
			}
			if round == 0 {
				first = sent
			} else if sent != first {
				t.Errorf("%s: other replies after the same object", tt.name)
			}
			c.emit(t, "other", "object") // which fails
			for i := range 2 * tallyAfter {
				c.emit(t, fmt.Sprint(i%5), "")
			}
			c.Fail("why")
			c.Flush()
			c.stdout.Reset()
			clear(c.records)
		}
		// Without leave nothing is repeated.
		c.repeats = false
		for range tallyAfter + 100 {
			c.emit(t, "k", "v")
		}
		if _, n := c.end(t); n != tallyAfter+100 {
			t.Errorf("%s: %d replies about %d records, without leave", tt.name, n, tallyAfter+100)
		}
	}
}

// What is emitted comes to be known before the object ends, however seldom anything new does: somebody may have a limit.
func TestTallyIsSent(t *testing.T) {
	c := newCounting()
	h := &told{records: make(map[[2]string]int64)}
	r := NewReplies(h, 1, Bounds{})
	for i := range 5 * tallyLeast {
		c.emit(t, "k", "v")
		if c.stdout.Len() > 0 {
			if _, err := r.Write(c.stdout.Bytes()); err != nil {
				t.Fatal(err)
			}
			c.stdout.Reset()
		}
		if known := h.records[[2]string{"k", "v"}]; int64(i)-known > tallyAfter+tallyLeast+tallyEach {
			t.Fatalf("%d records were emitted, %d are known of", i, known)
		}
	}
	key, value := []byte("k"), []byte("v")
	if n := testing.AllocsPerRun(1000, func() { c.Record(key, value) }); n != 0 {
		t.Errorf("%v allocations for a record", n)
	}
}
