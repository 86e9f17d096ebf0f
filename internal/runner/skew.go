package runner

import (
	"strings"

	"github.com/millrace/millrace/internal/guest"
	"github.com/millrace/millrace/job"
	"github.com/millrace/millrace/shuffle"
)

// A key is told if it has half of a partition's records, and so many.
const (
	hotRecords = 1000
	hotKey     = 100 // bytes that are told of it
)

// partitionOf says what was merged, of which keys are of type t.
func partitionOf(m shuffle.Merged, t guest.Type) *job.Partition {
	p := &job.Partition{Emitted: m.Emitted, Records: m.Records, Bytes: m.Bytes, Keys: m.Keys}
	if m.Largest > m.Records/2 && m.Largest >= hotRecords {
		text := string(guest.Text(nil, t, m.Key[:min(len(m.Key), hotKey)]))
		if len(m.Key) > hotKey {
			text += "…"
		}
		p.HotKey, p.HotRecords = strings.ToValidUTF8(text, "\ufffd"), m.Largest
	}
	return p
}
