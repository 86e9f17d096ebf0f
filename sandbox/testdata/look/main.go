// Look prints all that a guest can learn of its surroundings, and what may come in another order each time.
package main

import (
	"bufio"
	crand "crypto/rand"
	"fmt"
	"math/rand/v2"
	"os"
	"time"
)

func main() {
	out := bufio.NewWriter(os.Stdout)
	defer out.Flush()
	fmt.Fprintf(out, "args %q\nenviron %q\n", os.Args, os.Environ())
	var b [16]byte
	_, err := crand.Read(b[:])
	fmt.Fprintf(out, "random %x %v\n", b, err)
	fmt.Fprintln(out, "shuffled", rand.Perm(8))
	began := time.Now()
	fmt.Fprintln(out, "clock", began.UTC(), time.Since(began))
	time.Sleep(time.Millisecond)
	fmt.Fprintln(out, "slept", time.Since(began))
	m := make(map[int]bool)
	for i := range 40 {
		m[i] = true
	}
	fmt.Fprint(out, "map")
	for k := range m {
		fmt.Fprint(out, " ", k)
	}
	done := make(chan int)
	for i := range 8 {
		go func() { done <- i }()
	}
	fmt.Fprint(out, "\ngoroutines")
	for range 8 {
		select {
		case i := <-done:
			fmt.Fprint(out, " ", i)
		case i := <-done:
			fmt.Fprint(out, " +", i)
		}
	}
	fmt.Fprintf(out, "\nid %d\n", os.Getpid())
}
