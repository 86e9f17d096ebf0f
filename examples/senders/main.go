// Senders counts mails by the domain of their sender.
//
//	millrace run ./examples/senders -i s3://mail/ -o s3://out/senders -r 8
package main

import (
	"bufio"
	"errors"
	"io"

	"github.com/millrace/millrace/job"
	"github.com/millrace/millrace/mapper"
	"github.com/millrace/millrace/reducer"
)

func main() { job.Main(senders) }

var senders = job.MapReduce(sender, reducer.Count[bool]())

// none is the domain of mails without a sender, or without one that has a domain.
const none = "(none)"

// sender emits the domain in the From header of the mail that is the object.
func sender(mail *mapper.Object, emit func(domain string, seen bool)) error {
	from, err := header(bufio.NewReader(mail), "from")
	if err != nil {
		return err
	}
	d := domain(from)
	if d == "" {
		d = none
		mail.Count("mails without a sender", 1)
	}
	emit(d, true)
	return nil
}

// maxHeader is how much of a header is looked at, in bytes.
const maxHeader = 64 << 10

// header returns the unfolded value of the first header of that name, which is in lower case; "" if there is none.
func header(r *bufio.Reader, name string) (string, error) {
	var value []byte
	found := false
	for {
		line, err := r.ReadSlice('\n')
		long := errors.Is(err, bufio.ErrBufferFull)
		if err != nil && err != io.EOF && !long {
			return "", err
		}
		atEnd := err == io.EOF
		line = trimEnd(line)
		folded := len(line) > 0 && (line[0] == ' ' || line[0] == '\t')
		switch {
		case found && !folded, len(line) == 0:
			return string(value), nil
		case folded:
		default:
			if found = named(line, name); found {
				line = line[len(name)+1:]
			}
		}
		if found {
			value = append(value, line...)
		}
		for long { // the rest of a line that is longer than the reader's buffer
			line, err = r.ReadSlice('\n')
			long = errors.Is(err, bufio.ErrBufferFull)
			if err != nil && err != io.EOF && !long {
				return "", err
			}
			atEnd = err == io.EOF
			if found && len(value) < maxHeader {
				value = append(value, trimEnd(line)...)
			}
		}
		if atEnd || len(value) >= maxHeader {
			return string(value), nil
		}
	}
}

// trimEnd cuts the line end.
func trimEnd(line []byte) []byte {
	for len(line) > 0 && (line[len(line)-1] == '\n' || line[len(line)-1] == '\r') {
		line = line[:len(line)-1]
	}
	return line
}

// named reports whether line is a header of that name.
func named(line []byte, name string) bool {
	if len(line) <= len(name) || line[len(name)] != ':' {
		return false
	}
	for i := range name {
		if line[i]|0x20 != name[i] {
			return false
		}
	}
	return true
}
