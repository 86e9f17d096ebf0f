package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"
	"syscall"
)

func init() { verbs["files"] = files }

// files does something with files, one after another: each argument is VERB=PATH or VERB=PATH=MORE. It says what came of each.
func files(args []string) {
	for _, a := range args {
		f := append(strings.SplitN(a, "=", 3), "", "")
		verb, path, more := f[0], f[1], f[2]
		fmt.Println(verb, reason(file(verb, path, more)))
	}
}

var open []*os.File

func file(verb, path, more string) error {
	var f *os.File
	var err error
	switch verb {
	case "stat":
		_, err = os.Stat(path)
		return err
	case "remove":
		return os.Remove(path)
	case "list":
		_, err = os.ReadDir(path)
		return err
	case "create":
		f, err = os.Create(path)
	case "put", "fill", "tiny":
		f, err = os.OpenFile(path, os.O_WRONLY, 0)
	default:
		f, err = os.Open(path)
	}
	if err != nil {
		return err
	}
	switch verb {
	case "keep":
		open = append(open, f)
		return nil
	case "read":
		_, err = io.Copy(os.Stdout, f)
	case "count":
		var n int64
		if n, err = io.Copy(io.Discard, f); err == nil {
			fmt.Println(n)
		}
	case "head":
		var line string
		line, err = bufio.NewReaderSize(f, 16).ReadString('\n')
		fmt.Print(line)
	case "create", "put":
		_, err = f.WriteString(strings.ReplaceAll(more, "/", "\n"))
	case "fill":
		b := make([]byte, 64<<10)
		for n := number(more); n > 0 && err == nil; n-- {
			_, err = f.Write(b)
		}
	case "tiny":
		for n := number(more); n > 0 && err == nil; n-- {
			_, err = f.WriteString("x\n")
		}
	}
	return errors.Join(err, f.Close())
}

func reason(err error) string {
	for text, is := range map[string]error{
		"not there": fs.ErrNotExist, "forbidden": fs.ErrPermission, "nobody reads": syscall.EPIPE, "too many": syscall.EMFILE,
	} {
		if errors.Is(err, is) {
			return text
		}
	}
	if err != nil {
		return "failed"
	}
	return "done"
}
