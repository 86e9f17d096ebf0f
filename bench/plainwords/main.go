// Command plainwords is what millrace's word count is compared with: the Go loop that somebody writes in ten minutes, bufio.ScanWords and a
// map, on all cores, one file at a time on each. It prints the count of each word, in order.
//
//	plainwords DIR
package main

import (
	"bufio"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"

	"golang.org/x/sync/errgroup"
)

func main() {
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "usage: plainwords DIR")
		os.Exit(2)
	}
	if err := run(os.Args[1]); err != nil {
		fmt.Fprintln(os.Stderr, "plainwords:", err)
		os.Exit(1)
	}
}

func run(dir string) error {
	files, err := filepath.Glob(filepath.Join(dir, "*"))
	if err != nil {
		return err
	}
	todo := make(chan string, len(files))
	for _, f := range files {
		todo <- f
	}
	close(todo)
	counts := make([]map[string]int64, runtime.NumCPU())
	var g errgroup.Group
	for i := range counts {
		counts[i] = make(map[string]int64)
		g.Go(func() error {
			for f := range todo {
				if err := count(f, counts[i]); err != nil {
					return err
				}
			}
			return nil
		})
	}
	if err := g.Wait(); err != nil {
		return err
	}
	all := counts[0]
	for _, c := range counts[1:] {
		for word, n := range c {
			all[word] += n
		}
	}
	out := bufio.NewWriter(os.Stdout)
	for _, word := range slices.Sorted(maps.Keys(all)) {
		fmt.Fprintf(out, "%s\t%d\n", strings.ReplaceAll(word, `\`, `\\`), all[word]) // as text output has it
	}
	return out.Flush()
}

func count(name string, counts map[string]int64) error {
	f, err := os.Open(name)
	if err != nil {
		return err
	}
	defer f.Close()
	sc := bufio.NewScanner(f)
	sc.Split(bufio.ScanWords)
	for sc.Scan() {
		counts[sc.Text()]++
	}
	return sc.Err()
}
