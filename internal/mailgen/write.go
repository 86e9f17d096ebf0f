package mailgen

import (
	"os"
	"path/filepath"
	"runtime"

	"golang.org/x/sync/errgroup"
)

// Write writes mails 0 to n-1 below dir, a file each under its key, and returns what they hold, ordered by number.
// It uses all cores and does not sync. What was written before an error stays.
func (g *Generator) Write(dir string, n int) (*Truth, error) {
	for day := range yearSeconds / (24 * 3600) {
		if err := os.MkdirAll(filepath.Join(dir, year.AddDate(0, 0, day).Format("2006/01/02")), 0o777); err != nil {
			return nil, err
		}
	}
	workers := min(runtime.GOMAXPROCS(0), max(n, 1))
	truths := make([]Truth, workers)
	var eg errgroup.Group
	for w := range workers {
		eg.Go(func() error {
			var buf []byte
			for i := w * n / workers; i < (w+1)*n/workers; i++ {
				buf = g.Append(buf[:0], i, &truths[w])
				if err := os.WriteFile(filepath.Join(dir, g.Key(i)), buf, 0o666); err != nil {
					return err
				}
			}
			return nil
		})
	}
	if err := eg.Wait(); err != nil {
		return nil, err
	}
	var t Truth
	for i := range truths {
		t.Add(&truths[i])
	}
	return &t, nil
}
