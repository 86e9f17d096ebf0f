// Package flight carries netpipes between nodes, over Arrow Flight: gRPC with TLS at both ends. It forwards frames and never looks into them.
//
// A writer pushes with DoPut to the node that has made the reading end; a reader fetches with DoGet, again if it needs to, what a node keeps or
// what it answers to a question.
// Payloads travel in data_body, headers in app_metadata. All numbers are little-endian; frames are those of package shuffle.
//
//	DoPut   writer: {flight_descriptor: CMD token, app_metadata: stamp}
//	                {app_metadata: stamp header[16], data_body: payload} …
//	        reader: {app_metadata: header[16] payload} …
//	DoGet   reader: ticket = stamp pieces:u64 name:str question
//	        writer: {app_metadata: stamp header[16], data_body: payload} …
//
//	stamp = "MF" version:u8 length:u8 incarnation:u64 epoch:u64 attempt:u32 job:str task:str crc:u32
//	str   = n:u8 bytes[n]
//
//	version  2
//	length   of the stamp in bytes
//	crc      CRC-32C of all before it
//
// The stamp names the attempt that writes. It is given by the agent of the writer, which knows whose frames it forwards; the other node
// knows which attempt it wants, and refuses all others as stale, frame by frame. The token is random and names one end of one netpipe. pieces
// is how many DATA and PART the reader of a ticket has, which are not sent again.
//
// The name of a ticket is the token of what is kept, without a question; or one that both nodes know, and then the question, to the end of the ticket,
// is between those two. The stamp of a question names the attempt that asks, and the incarnation of the agent that is asked.
package flight

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"

	"github.com/millrace/millrace/shuffle"
)

// A Stamp names the attempt that writes a netpipe.
type Stamp struct {
	Job         string // at most 64 bytes
	Task        string // at most 64 bytes
	Attempt     uint32
	Incarnation uint64 // of the agent that it runs on
	Epoch       uint64 // of the coordinator that leased it
}

func (s Stamp) String() string {
	return fmt.Sprintf("%s of job %s, attempt %d, incarnation %d, epoch %d", s.Task, s.Job, s.Attempt, s.Incarnation, s.Epoch)
}

const (
	stampMagic   = "MF"
	stampVersion = 2
	stampFixed   = 4 + 8 + 8 + 4
	maxName      = 64
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

var errStamp = errors.New("a stamp needs a job and a task of at most 64 bytes")

// encode returns the stamp as it travels.
func (s Stamp) encode() ([]byte, error) {
	if s.Job == "" || s.Task == "" || len(s.Job) > maxName || len(s.Task) > maxName {
		return nil, errStamp
	}
	b := append([]byte(stampMagic), stampVersion, byte(stampFixed+2+len(s.Job)+len(s.Task)+4))
	b = binary.LittleEndian.AppendUint64(b, s.Incarnation)
	b = binary.LittleEndian.AppendUint64(b, s.Epoch)
	b = binary.LittleEndian.AppendUint32(b, s.Attempt)
	for _, name := range []string{s.Job, s.Task} {
		b = append(append(b, byte(len(name))), name...)
	}
	return binary.LittleEndian.AppendUint32(b, crc32.Checksum(b, castagnoli)), nil
}

// splitStamp returns the stamp at the start of b and what follows it. The error is shuffle.ErrCorrupt.
func splitStamp(b []byte) (stamp, rest []byte, err error) {
	if len(b) < stampFixed || string(b[:2]) != stampMagic {
		return nil, nil, fmt.Errorf("%w: no stamp", shuffle.ErrCorrupt)
	}
	if b[2] != stampVersion {
		return nil, nil, fmt.Errorf("%w: a stamp of version %d, known is %d", shuffle.ErrCorrupt, b[2], stampVersion)
	}
	n := int(b[3])
	if n < stampFixed+4 || n > len(b) || crc32.Checksum(b[:n-4], castagnoli) != binary.LittleEndian.Uint32(b[n-4:]) {
		return nil, nil, fmt.Errorf("%w: checksum mismatch in a stamp", shuffle.ErrCorrupt)
	}
	return b[:n], b[n:], nil
}

// stale is the error for a stamp that is not the wanted one.
func stale(got, want []byte) error {
	if bytes.Equal(got, want) {
		return nil
	}
	return fmt.Errorf("%w: the frames are of %s, wanted is %s", shuffle.ErrStale, describe(got), describe(want))
}

// parse returns what a verified stamp says. The error is shuffle.ErrCorrupt.
func parse(b []byte) (Stamp, error) {
	s := Stamp{Incarnation: binary.LittleEndian.Uint64(b[4:]), Epoch: binary.LittleEndian.Uint64(b[12:]), Attempt: binary.LittleEndian.Uint32(b[20:])}
	names := b[stampFixed : len(b)-4]
	for _, to := range []*string{&s.Job, &s.Task} {
		name, rest, err := cutName(names)
		if err != nil {
			return Stamp{}, err
		}
		*to, names = name, rest
	}
	if len(names) > 0 {
		return Stamp{}, fmt.Errorf("%w: %d bytes behind the names of a stamp", shuffle.ErrCorrupt, len(names))
	}
	return s, nil
}

// cutName takes a str off b.
func cutName(b []byte) (name string, rest []byte, err error) {
	if len(b) == 0 || b[0] == 0 || b[0] > maxName || int(b[0]) >= len(b) {
		return "", nil, fmt.Errorf("%w: no name of at most %d bytes", shuffle.ErrCorrupt, maxName)
	}
	n := 1 + int(b[0])
	return string(b[1:n]), b[n:], nil
}

// describe returns what a verified stamp says, for people.
func describe(b []byte) string {
	s, err := parse(b)
	if err != nil {
		return "an attempt without names"
	}
	return fmt.Sprintf("%q", s.String())
}
