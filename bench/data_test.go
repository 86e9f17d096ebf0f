package bench

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"github.com/millrace/millrace/internal/mailgen"
)

// A scale is how much data is measured; the environment variable SIZE names it.
type scale struct {
	name  string
	mails int
	words int64 // bytes of mail whose words are counted
	sort  int64 // bytes of lines that are sorted
	group int64 // records that are grouped, four for each key

	requests int64 // bytes of lines whose numbers are added up
}

var scales = map[string]scale{
	"":      {"small", 5_000, 20e6, 64e6, 2e6, 64e6},
	"small": {"small", 5_000, 20e6, 64e6, 2e6, 64e6},
	"mid":   {"mid", 50_000, 200e6, 1e9, 20e6, 500e6},
	"full":  {"full", 200_000, 4e9, 10e9, 200e6, 2e9},
}

func theScale(tb testing.TB) scale {
	s, ok := scales[os.Getenv("SIZE")]
	if !ok {
		tb.Fatalf("SIZE=%s: neither small, mid nor full", os.Getenv("SIZE"))
	}
	return s
}

// dataDir is where generated data stays from one run to the next: BENCH_DIR, else .cache/bench in the checkout.
func dataDir() (string, error) {
	dir := os.Getenv("BENCH_DIR")
	if dir == "" {
		dir = filepath.Join("..", ".cache", "bench")
	}
	return filepath.Abs(dir)
}

// generated returns the directory of a data set and the bytes in it; it makes it first if it is not there in full.
func generated(tb testing.TB, name string, make func(dir string) (int64, error)) (string, int64) {
	tb.Helper()
	base, err := dataDir()
	if err != nil {
		tb.Fatal(err)
	}
	dir, complete := filepath.Join(base, name), filepath.Join(base, name+".json")
	var size int64
	if text, err := os.ReadFile(complete); err == nil && json.Unmarshal(text, &size) == nil {
		return dir, size
	}
	if err := os.RemoveAll(dir); err != nil {
		tb.Fatal(err)
	}
	if err := os.MkdirAll(dir, 0o777); err != nil {
		tb.Fatal(err)
	}
	if size, err = make(dir); err == nil {
		err = os.WriteFile(complete, fmt.Append(nil, size), 0o666)
	}
	if err != nil {
		tb.Fatal(err)
	}
	return dir, size
}

var dataMutex sync.Mutex // of generated data: one benchmark makes it

// mails returns a directory of mails, one file each.
func mails(tb testing.TB) (dir string, size int64) {
	tb.Helper()
	dataMutex.Lock()
	defer dataMutex.Unlock()
	n := theScale(tb).mails
	return generated(tb, fmt.Sprintf("mails-%d", n), func(dir string) (int64, error) {
		truth, err := mailgen.New(1, nil).Write(dir, n)
		if err != nil {
			return 0, err
		}
		return truth.Bytes, nil
	})
}

// mailbox is the size of one file of many mails, in bytes.
const mailbox = 4e6

// mailboxes returns a directory of files that hold one mail after the other, and total bytes at least.
func mailboxes(tb testing.TB, total int64) (dir string, size int64) {
	tb.Helper()
	dataMutex.Lock()
	defer dataMutex.Unlock()
	return generated(tb, fmt.Sprintf("mailboxes-%d", total), func(dir string) (int64, error) {
		g := mailgen.New(1, nil)
		var size int64
		for n, i := 0, 0; size < total; n++ {
			var box []byte
			for ; len(box) < mailbox; i++ {
				box = append(g.Append(box, i, nil), '\n')
			}
			if err := os.WriteFile(filepath.Join(dir, fmt.Sprintf("%05d.mbox", n)), box, 0o666); err != nil {
				return 0, err
			}
			size += int64(len(box))
		}
		return size, nil
	})
}
