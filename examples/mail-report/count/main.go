// Count counts the lines of the channels "domain" and "word", and writes what it has counted to "total". All lines that are alike
// come to the same member of a group, so that each counts some of them, and counts them all.
package main

import (
	"bufio"
	"errors"
	"fmt"
	"log"
	"os"
)

func main() {
	counts := make(map[string]int)
	for _, name := range []string{"/dev/in/domain", "/dev/in/word"} {
		if err := count(name, counts); err != nil {
			log.Fatal(err)
		}
	}
	if err := write("/dev/out/total", counts); err != nil {
		log.Fatal(err)
	}
}

func count(name string, counts map[string]int) error {
	f, err := os.Open(name)
	if err != nil {
		return err
	}
	defer f.Close()
	sc := bufio.NewScanner(f)
	for sc.Scan() {
		counts[sc.Text()]++
	}
	return sc.Err()
}

func write(name string, counts map[string]int) error {
	f, err := os.Create(name)
	if err != nil {
		return err
	}
	w := bufio.NewWriter(f)
	for what, n := range counts {
		fmt.Fprintf(w, "%s\t%d\n", what, n)
	}
	return errors.Join(w.Flush(), f.Close())
}
