package cluster

import (
	"encoding/binary"
	"errors"
	"fmt"
	"strings"
)

// Envelopes are drawn in the package comment.
const (
	version       = 1
	requestHeader = 9

	statusOK    = 0
	statusError = 1
	maxText     = 64 << 10 // of an error

	callPrefix     = "millrace.call."
	newsPrefix     = "millrace.news."
	memberPrefix   = "millrace.member."
	standingPrefix = "millrace.standing."
	logPrefix      = "millrace.log."
	statePrefix    = "millrace.state."
	maxSubject     = 200
)

func appendRequest(b []byte, epoch uint64, payload []byte) []byte {
	b = append(b, version)
	b = binary.BigEndian.AppendUint64(b, epoch)
	return append(b, payload...)
}

func parseRequest(b []byte) (epoch uint64, payload []byte, err error) {
	if len(b) < requestHeader {
		return 0, nil, fmt.Errorf("%w: a request of %d bytes", ErrCorrupt, len(b))
	}
	if b[0] != version {
		return 0, nil, fmt.Errorf("%w: a request of version %d, known is %d", ErrCorrupt, b[0], version)
	}
	if len(b)-requestHeader > MaxMessage {
		return 0, nil, fmt.Errorf("%w: %d bytes of %d", ErrTooLarge, len(b)-requestHeader, MaxMessage)
	}
	return binary.BigEndian.Uint64(b[1:]), b[requestHeader:], nil
}

func appendReply(b, payload []byte, err error) []byte {
	if err == nil {
		return append(append(b, version, statusOK), payload...)
	}
	code, text := "error", err.Error()
	if r, ok := errors.AsType[*RemoteError](err); ok {
		code = r.Code[:min(len(r.Code), 255)]
	}
	b = append(b, version, statusError, byte(len(code)))
	b = append(b, code...)
	return append(b, text[:min(len(text), maxText)]...)
}

func parseReply(b []byte) ([]byte, error) {
	switch {
	case len(b) < 2:
		return nil, fmt.Errorf("%w: a reply of %d bytes", ErrCorrupt, len(b))
	case b[0] != version:
		return nil, fmt.Errorf("%w: a reply of version %d, known is %d", ErrCorrupt, b[0], version)
	case b[1] == statusOK && len(b)-2 <= MaxMessage:
		return b[2:], nil
	case b[1] == statusError && len(b) >= 3 && len(b)-3 >= int(b[2]):
		n := 3 + int(b[2])
		return nil, &RemoteError{Code: string(b[3:n]), Text: string(b[n:])}
	}
	return nil, fmt.Errorf("%w: a reply of status %d with %d bytes", ErrCorrupt, b[1], len(b))
}

// checkSubject says whether s is words of letters, digits, "-" and "_" with dots between them.
func checkSubject(s string) error {
	return check(s, func(string, bool) bool { return false })
}

// checkPattern also lets a word be "*", and the last one ">".
func checkPattern(s string) error {
	return check(s, func(word string, last bool) bool { return word == "*" || last && word == ">" })
}

func check(s string, wild func(word string, last bool) bool) error {
	if len(s) > maxSubject {
		return fmt.Errorf("subject of %d bytes, more than %d", len(s), maxSubject)
	}
	words := strings.Split(s, ".")
	for i, w := range words {
		if !plain(w) && !wild(w, i == len(words)-1) {
			return fmt.Errorf("subject %q: %q is no word of letters, digits, - and _", s, w)
		}
	}
	return nil
}

func plain(word string) bool {
	for _, c := range []byte(word) {
		switch {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9', c == '-', c == '_':
		default:
			return false
		}
	}
	return word != ""
}
