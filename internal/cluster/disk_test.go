package cluster

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"testing"
	"time"

	"github.com/millrace/millrace/internal/identity"
)

// A filler appends large entries to one log, and takes it over again when an append failed.
type filler struct {
	c     *Cluster
	log   *Log
	epoch uint64
	kept  []int // numbers that were acknowledged
	tried int
}

const fillSize = 512 << 10

func (f *filler) append(ctx context.Context) error {
	if f.log == nil {
		l, err := f.c.Log(ctx, "a")
		if err != nil {
			return err
		}
		f.epoch = l.Epoch() + 1
		if err := l.Lead(ctx, f.epoch); err != nil {
			return err
		}
		f.log = l
	}
	record := bytes.Repeat([]byte{byte(f.tried)}, fillSize)
	copy(record, fmt.Sprintf("%08d", f.tried))
	f.tried++
	if err := f.log.Append(ctx, f.epoch, record); err != nil {
		f.log = nil
		return err
	}
	f.kept = append(f.kept, f.tried-1)
	return nil
}

// check says what of the acknowledged entries is lost, altered or out of order.
func (f *filler) check(ctx context.Context) error {
	l, err := f.c.Log(ctx, "a")
	if err != nil {
		return err
	}
	if err := l.Lead(ctx, l.Epoch()+1); err != nil {
		return err
	}
	want := f.kept
	for r, err := range l.Read(ctx) {
		if err != nil {
			return err
		}
		if r.Lead {
			continue
		}
		var n int
		if _, err := fmt.Sscanf(string(r.Data[:8]), "%d", &n); err != nil || len(r.Data) != fillSize || bytes.Count(r.Data[8:], []byte{byte(n)}) != fillSize-8 {
			return fmt.Errorf("entry %d is not what was appended: %v", r.Seq, err)
		}
		if len(want) > 0 && want[0] == n {
			want = want[1:] // others may be there without an acknowledgement
		}
	}
	if len(want) > 0 {
		return fmt.Errorf("%d of %d acknowledged entries are lost, or out of order, from number %d on", len(want), len(f.kept), want[0])
	}
	return nil
}

// TestFullDisks fills the disks of one server, and of all.
func TestFullDisks(t *testing.T) {
	if *histories == 0 {
		t.Skip("only with -cluster.histories: it takes a minute")
	}
	if os.Geteuid() != 0 {
		t.Skip("needs root, to mount small file systems in a mount namespace of its own")
	}
	for _, tt := range []struct {
		name string
		disk [3]int // MiB
	}{
		{"of one", [3]int{256, 24, 256}},
		{"of all", [3]int{24, 24, 24}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			th := newThree(t, tt.disk)
			f := &filler{c: connect(t, &Remote{URLs: th.urls(), Identity: issue(t, th.ca, identity.Coordinator, "c-1")})}
			if err := f.c.Prepare(soon(t)); err != nil {
				t.Fatal(err)
			}
			fill := func(most int, patience time.Duration) (last error) {
				for end := time.Now().Add(patience); len(f.kept) < most && time.Now().Before(end); {
					ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
					if err := f.append(ctx); err != nil {
						last = err
					}
					cancel()
				}
				return last
			}
			if tt.disk[0] > tt.disk[1] {
				last := fill(80, 2*time.Minute)
				t.Logf("%d of %d entries acknowledged, last error %v", len(f.kept), f.tried, last)
				if len(f.kept) < 80 {
					t.Errorf("only %d entries were acknowledged while one disk was full: %v", len(f.kept), last)
				}
			} else {
				last := fill(80, 30*time.Second)
				t.Logf("%d of %d entries acknowledged, last error %v", len(f.kept), f.tried, last)
				if len(f.kept) == 80 || len(f.kept) < 5 || last == nil {
					t.Errorf("%d entries were acknowledged on disks for less than 48, the last error is %v", len(f.kept), last)
				}
				for _, c := range th.children {
					if err := c.again("grow 256"); err != nil {
						t.Fatal(err)
					}
				}
				if fill(len(f.kept)+5, time.Minute); f.log == nil {
					t.Error("no entry is taken after the disks have grown")
				}
			}
			ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
			defer cancel()
			if err := f.check(ctx); err != nil {
				t.Error(err)
			}
		})
	}
}
