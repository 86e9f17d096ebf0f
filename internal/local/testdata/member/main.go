// Member is a program of groups: it does as its argument says.
package main

import (
	"bufio"
	"errors"
	"io"
	"log"
	"maps"
	"os"
	"slices"
	"strconv"
	"syscall"
)

func main() {
	var err error
	switch os.Args[1] {
	case "look": // writes the words of an object
		err = look()
	case "count": // prints how often there is each
		err = count()
	case "pass": // passes them on
		err = pass()
	case "flood": // writes until nobody reads
		err = flood()
	case "sip": // reads some of it
		err = sip()
	}
	if err != nil {
		log.Fatal(err)
	}
}

func look() error {
	f, err := os.OpenFile("/dev/out/word", os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	w := bufio.NewWriter(f)
	sc := bufio.NewScanner(os.Stdin)
	sc.Split(bufio.ScanWords)
	for sc.Scan() {
		w.WriteString(sc.Text() + "\t1\n")
	}
	return errors.Join(sc.Err(), w.Flush(), f.Close())
}

func count() error {
	f, err := os.Open("/dev/in/word")
	if err != nil {
		return err
	}
	counts := make(map[string]int)
	sc := bufio.NewScanner(f)
	for sc.Scan() {
		counts[sc.Text()]++
	}
	w := bufio.NewWriter(os.Stdout)
	for _, line := range slices.Sorted(maps.Keys(counts)) {
		w.WriteString(line[:len(line)-1] + strconv.Itoa(counts[line]) + "\n")
	}
	return errors.Join(sc.Err(), w.Flush())
}

func pass() error {
	from, err := os.Open("/dev/in/byte")
	if err != nil {
		return err
	}
	to, err := os.Create("/dev/out/word")
	if err != nil {
		return err
	}
	_, err = io.Copy(to, from)
	return errors.Join(err, to.Close())
}

func flood() error {
	f, err := os.OpenFile("/dev/out/word", os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	b := make([]byte, 1<<20)
	for i := range b {
		b[i] = "0123456789\n"[i%11]
	}
	for err == nil {
		_, err = f.Write(b)
	}
	if errors.Is(err, syscall.EPIPE) {
		return nil
	}
	return err
}

func sip() error {
	f, err := os.Open("/dev/in/word")
	if err != nil {
		return err
	}
	n, err := io.CopyN(io.Discard, f, 20<<20)
	os.Stdout.WriteString(strconv.FormatInt(n, 10) + "\n")
	return errors.Join(err, f.Close())
}
