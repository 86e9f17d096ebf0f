package guest

import (
	"bufio"
	"encoding/binary"
	"io"
)

// RecordStream returns the stdin of a guest that reduces: params (from EncodeParams, or nil), then what next returns, until
// ok is false. Key and value are used until next is called again. An error of next is the error of the stream.
// Records must come ordered by key, then value.
func RecordStream(params []byte, next func() (key, value []byte, ok bool, err error)) io.Reader {
	s := &recordStream{next: next}
	s.pending[0] = params
	return s
}

type recordStream struct {
	next    func() (key, value []byte, ok bool, err error)
	pending [3][]byte
	head    [1 + 2*binary.MaxVarintLen64]byte
	err     error
}

// Read fills p as far as there are records: a small record costs no call of its own.
func (s *recordStream) Read(p []byte) (int, error) {
	n := 0
	for n < len(p) {
		rest := false
		for i := range s.pending {
			k := copy(p[n:], s.pending[i])
			n += k
			s.pending[i] = s.pending[i][k:]
			rest = rest || len(s.pending[i]) > 0
		}
		if rest {
			break
		}
		if s.err != nil {
			if n > 0 {
				break
			}
			return 0, s.err
		}
		s.fetch()
	}
	return n, nil
}

func (s *recordStream) fetch() {
	key, value, ok, err := s.next()
	switch {
	case err != nil:
		s.err = err
	case !ok:
		s.pending[0] = appendHeader(s.head[:0], kindEnd, 0)
		s.err = io.EOF
	default:
		s.pending = [3][]byte{recordHead(s.head[:0], key, value), key, value}
	}
}

func recordHead(dst, key, value []byte) []byte {
	dst = binary.AppendUvarint(append(dst, kindRecord), uint64(len(key)))
	return binary.AppendUvarint(dst, uint64(len(value)))
}

// Records reads records from a guest's stdin, on the guest's side.
type Records struct {
	r      *bufio.Reader
	params map[string]string
	buf    []byte
	ended  bool
}

// NewRecords returns a Records that reads r, and reads its parameters.
func NewRecords(r io.Reader) (*Records, error) {
	rs := &Records{r: bufio.NewReaderSize(r, 64<<10)}
	kind, err := rs.r.Peek(1)
	if err != nil {
		return nil, noEOF(err)
	}
	if kind[0] == kindParams {
		_, n, err := readHeader(rs.r)
		if err != nil {
			return nil, err
		}
		if rs.params, err = readParams(rs.r, n); err != nil {
			return nil, err
		}
	}
	return rs, nil
}

// Params returns the parameters of the job. They are not to be changed.
func (r *Records) Params() map[string]string { return r.params }

// Next returns the next record, valid until Next is called again; ok is false after the last one.
func (r *Records) Next() (key, value []byte, ok bool, err error) {
	if r.ended {
		return nil, nil, false, nil
	}
	kind, err := r.r.ReadByte()
	if err != nil {
		return nil, nil, false, noEOF(err)
	}
	switch kind {
	case kindEnd:
		var zero [headerLen - 1]byte
		if _, err := io.ReadFull(r.r, zero[:]); err != nil {
			return nil, nil, false, noEOF(err)
		}
		if zero != [headerLen - 1]byte{} {
			return nil, nil, false, protocolError("end of records has a length")
		}
		r.ended = true
		return nil, nil, false, nil
	case kindRecord:
	default:
		return nil, nil, false, protocolError("no record where one must be")
	}
	k, err := r.length(DefaultBounds.Key)
	if err != nil {
		return nil, nil, false, err
	}
	v, err := r.length(DefaultBounds.Value)
	if err != nil {
		return nil, nil, false, err
	}
	if r.buf, err = readN(r.r, r.buf[:0], k+v); err != nil {
		return nil, nil, false, noEOF(err)
	}
	return r.buf[:k:k], r.buf[k:], true, nil
}

func (r *Records) length(limit int) (int, error) {
	n, err := binary.ReadUvarint(r.r)
	if err != nil {
		return 0, noEOF(err)
	}
	if n > uint64(limit) {
		return 0, protocolError("record is too long")
	}
	return int(n), nil
}

// readN appends n bytes of r to buf, which grows by what has come, not by what was announced.
func readN(r io.Reader, buf []byte, n int) ([]byte, error) {
	for n > 0 {
		step := min(n, max(64<<10, len(buf)))
		if cap(buf)-len(buf) < step {
			buf = append(make([]byte, 0, len(buf)+step), buf...)
		}
		k, err := io.ReadFull(r, buf[len(buf):len(buf)+step])
		buf = buf[:len(buf)+k]
		if err != nil {
			return buf, err
		}
		n -= k
	}
	return buf, nil
}
