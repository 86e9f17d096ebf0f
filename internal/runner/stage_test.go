package runner

import (
	"bytes"
	"fmt"
	"math"
	"testing"

	"github.com/millrace/millrace/job"
)

// What an object emits comes out as it went in, also after others, whatever their sizes.
func TestStageKeepsRecords(t *testing.T) {
	s := stage{limits: job.Limits{Output: math.MaxInt64, Records: math.MaxInt64}}
	var first string
	for round, sizes := range [][]int{{}, {1, 0, stageChunk - 9, 3}, {stageChunk, 1, 2 * stageChunk, 5, stageChunk - 8}, {7}, {1, 0, stageChunk - 9, 3}} {
		s.reset()
		var want []string
		for i, n := range sizes {
			value := bytes.Repeat([]byte{byte('a' + i)}, n)
			if err := s.Record(fmt.Append(nil, i), value); err != nil {
				t.Fatal(err)
			}
			want = append(want, fmt.Sprint(i)+string(value))
		}
		n := 0
		err := s.each(func(key, value []byte, _ int64) error {
			if n >= len(want) || want[n] != string(key)+string(value) {
				t.Fatalf("round %d: record %d is another", round, n)
			}
			n++
			return nil
		})
		if err != nil || n != len(want) || s.records != int64(n) {
			t.Errorf("round %d: %d records of %d, %v", round, n, len(want), err)
		}
		if h := hash(s.filled()...); round == 1 {
			first = h
		} else if round == 4 && h != first {
			t.Error("the digest of the same records is another after other objects")
		}
	}
}
