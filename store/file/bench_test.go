package file_test

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/millrace/millrace/store"
	"github.com/millrace/millrace/store/file"
)

// tree makes n small files in directories of 20 to 500 entries.
func tree(tb testing.TB, n int) string {
	tb.Helper()
	dir := tb.TempDir()
	body := make([]byte, 1000)
	for d := 0; n > 0; d++ {
		sub := filepath.Join(dir, fmt.Sprintf("%04d/%02d", 2000+d/12, d%12+1))
		if err := os.MkdirAll(sub, 0o755); err != nil {
			tb.Fatal(err)
		}
		for i := range min(n, 20+(d*97)%480) {
			if err := os.WriteFile(fmt.Sprintf("%s/%06d.eml", sub, i), body, 0o644); err != nil {
				tb.Fatal(err)
			}
			n--
		}
	}
	return dir
}

func BenchmarkList(b *testing.B) {
	const n = 200_000
	bucket := file.New(tree(b, n))
	defer bucket.Close()
	b.ReportAllocs()
	for b.Loop() {
		got := 0
		for _, err := range bucket.List(b.Context(), "", "") {
			if err != nil {
				b.Fatal(err)
			}
			got++
		}
		if got != n {
			b.Fatalf("listed %d objects, want %d", got, n)
		}
	}
	b.ReportMetric(float64(n)*float64(b.N)/b.Elapsed().Seconds(), "objects/s")
}

func BenchmarkReadWhole(b *testing.B) {
	bucket := file.New(tree(b, 20_000))
	defer bucket.Close()
	var objects []store.Object
	for o, err := range bucket.List(b.Context(), "", "") {
		if err != nil {
			b.Fatal(err)
		}
		objects = append(objects, o)
	}
	dst := make([]byte, 1000)
	b.SetBytes(1000)
	b.ReportAllocs()
	i := 0
	for b.Loop() {
		if err := bucket.ReadWhole(b.Context(), objects[i%len(objects)], dst); err != nil {
			b.Fatal(err)
		}
		i++
	}
}
