// Probe does as its first argument says, or, as the program of a job, as the first word of its object. It is the guest of the conformance suite
// and of the attacks.
package main

import (
	"bufio"
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"time"
)

var state = 0 // what a run before this one would have changed

func main() {
	if os.Getenv("MILLRACE_KEY") != "" {
		words, _ := bufio.NewReader(os.Stdin).ReadString('\n')
		os.Args = append(os.Args[:1], strings.Fields(words)...)
	}
	if len(os.Args) < 2 {
		fmt.Println(os.Args[0])
		return
	}
	verb, args := os.Args[1], os.Args[2:]
	if f, ok := verbs[verb]; ok {
		f(args)
		return
	}
	if !attack(verb, args) {
		fmt.Fprintln(os.Stderr, "unknown verb", verb)
		os.Exit(99)
	}
}

var verbs = map[string]func(args []string){
	"args": func(args []string) { fmt.Printf("%q\n", os.Args) },
	"env":  func([]string) { fmt.Printf("%q\n", os.Environ()) },
	"cat": func([]string) {
		if _, err := io.Copy(os.Stdout, os.Stdin); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(5)
		}
	},
	"count": func([]string) {
		n, err := io.Copy(io.Discard, os.Stdin)
		fmt.Println(n, err)
	},
	"head": func([]string) {
		line, _ := bufio.NewReaderSize(os.Stdin, 16).ReadString('\n')
		fmt.Print(line)
	},
	"exit": func(args []string) {
		fmt.Fprintln(os.Stderr, "going to exit", args[0])
		os.Exit(number(args[0]))
	},
	"panic": func([]string) { panic("the probe panics") },
	"loop": func([]string) {
		for i := 0; ; i++ {
			state += i
		}
	},
	"sleep": func(args []string) {
		d, _ := time.ParseDuration(args[0])
		time.Sleep(d)
		fmt.Println("slept")
	},
	"memory": func(args []string) {
		var keep [][]byte
		for range number(args[0]) {
			b := make([]byte, 1<<20)
			for i := 0; i < len(b); i += 512 {
				b[i] = 1
			}
			keep = append(keep, b)
		}
		fmt.Println(len(keep))
	},
	"recurse": func([]string) { fmt.Println(recurse(1)) },
	"out":     func(args []string) { spew(os.Stdout, args[0]) },
	"err":     func(args []string) { spew(os.Stderr, args[0]) },
	"state": func([]string) {
		state++
		_, err := os.ReadFile("left-behind")
		fmt.Println(state, err == nil)
		_ = os.WriteFile("left-behind", []byte("x"), 0o666)
	},
	"random": func([]string) {
		b := make([]byte, 16)
		_, err := rand.Read(b)
		fmt.Println(hex.EncodeToString(b), err)
	},
	"clock": func([]string) { fmt.Println(time.Now().UTC().Format(time.RFC3339Nano)) },
	"read":  func(args []string) { read(args...); fmt.Println("done") },
	"write": func(args []string) { write(args...); fmt.Println("done") },
}

// read reports the files and directories that it can read.
func read(names ...string) {
	for _, name := range names {
		b, err := os.ReadFile(name)
		if err == nil {
			fmt.Printf("READ %s %q\n", name, b[:min(len(b), 100)])
			continue
		}
		if _, err := os.ReadDir(name); err == nil {
			fmt.Println("LISTED", name)
		}
	}
}

// write reports the files that it can write.
func write(names ...string) {
	for _, name := range names {
		if err := os.WriteFile(name, []byte("was here"), 0o666); err == nil {
			fmt.Println("WROTE", name)
		}
	}
}

func number(s string) int {
	n, err := strconv.Atoi(s)
	if err != nil {
		panic(err)
	}
	return n
}

func spew(w io.Writer, megabytes string) {
	b := []byte(strings.Repeat(strings.Repeat("x", 1023)+"\n", 64))
	for range number(megabytes) * 16 {
		if _, err := w.Write(b); err != nil {
			os.Exit(6)
		}
	}
}

func recurse(n int) int {
	if n < 0 {
		return 0
	}
	return recurse(n+1) + 1
}
