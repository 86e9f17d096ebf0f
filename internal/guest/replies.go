package guest

import (
	"encoding/binary"
	"strconv"
)

// A Handler takes what a guest answers. Slices are valid during the call only. An error of Records or Text ends
// the guest's run and is the error of [Replies.Write].
type Handler interface {
	// Records are n equal records that the guest emitted, key and value encoded as its Description says. There are more than one only
	// where the guest was given leave to repeat.
	Records(key, value []byte, n int64) error
	// Text is raw map-only output: whole lines.
	Text(p []byte) error
	// Count adds n to the job's counter of that name.
	Count(name string, n int64)
	// Fail ends an object's replies: the guest says that the object (or, in a reduce, the work) is bad. What it emitted
	// for it must be dropped.
	Fail(reason string)
	// OK ends an object's replies: all that was emitted for it counts.
	OK()
}

// Bounds of one record. A guest that passes them is refused; a host that reads foreign records uses the same.
type Bounds struct {
	Key   int // bytes
	Value int // bytes, also of one text
}

// DefaultBounds hold where nobody says otherwise.
var DefaultBounds = Bounds{Key: 1 << 20, Value: 64 << 20}

// Replies is the stdout of a guest: it takes the guest's bytes as they come, cut anywhere, and calls its handler.
// It holds no more than one record, and that only if it came in pieces.
type Replies struct {
	h       Handler
	b       Bounds
	objects int // that are still to be answered
	records uint64
	times   int64  // of the record that is to come next; 0: nothing was said
	buf     []byte // the start of a reply that has not fully come
	err     error
}

// NewReplies returns Replies for a guest that was given that number of objects (1 in a reduce). Zero bounds are the default ones.
func NewReplies(h Handler, objects int, b Bounds) *Replies {
	if b.Key == 0 {
		b.Key = DefaultBounds.Key
	}
	if b.Value == 0 {
		b.Value = DefaultBounds.Value
	}
	return &Replies{h: h, b: b, objects: objects}
}

// Expect says that the guest was given one more object.
func (r *Replies) Expect() { r.objects++ }

// Write parses p. After an error it returns the same error again.
func (r *Replies) Write(p []byte) (int, error) {
	if r.err != nil {
		return 0, r.err
	}
	total := len(p)
	if len(r.buf) > 0 {
		// Only the head of a reply says how much it needs, so that it is fed in small pieces until it is known.
		for len(r.buf) > 0 && len(p) > 0 {
			need, err := r.next(r.buf)
			if err != nil {
				return 0, r.fail(err)
			}
			n := min(need, len(p))
			r.buf = append(r.buf, p[:n]...)
			p = p[n:]
			used, err := r.consume(r.buf)
			if err != nil {
				return 0, r.fail(err)
			}
			if used > 0 {
				r.buf = r.buf[:0] // it was one reply, for never more than that was missing is added
			}
		}
		if len(r.buf) == 0 && cap(r.buf) > 1<<20 {
			r.buf = nil
		}
	}
	used, err := r.consume(p)
	if err != nil {
		return 0, r.fail(err)
	}
	r.buf = append(r.buf, p[used:]...)
	return total, nil
}

func (r *Replies) fail(err error) error {
	r.err, r.buf = err, nil
	return err
}

// Close is called when the guest has ended. It returns nil if the guest answered for every object it was given, by OK or by
// Fail, and said nothing more; a guest that exits without doing so is in error.
func (r *Replies) Close() error {
	switch {
	case r.err != nil:
		return r.err
	case len(r.buf) > 0, r.times > 0:
		return r.fail(protocolError("guest ended in the middle of a reply"))
	case r.objects > 0:
		return r.fail(protocolError("guest ended without saying that it was done"))
	}
	return nil
}

// A reply is one reply, cut out of a buffer.
type reply struct {
	kind byte
	a, b []byte // key and value; text; name; reason
	n    int64
	size int // of the whole reply
}

// consume handles all whole replies at the start of p and returns their length.
func (r *Replies) consume(p []byte) (int, error) {
	used := 0
	for used < len(p) {
		y, need, err := r.parse(p[used:])
		if err != nil {
			return 0, err
		}
		if need > 0 {
			break
		}
		if err := r.handle(&y); err != nil {
			return 0, err
		}
		used += y.size
	}
	return used, nil
}

// next returns how many bytes more are needed at least for p to be a whole reply.
func (r *Replies) next(p []byte) (int, error) {
	_, need, err := r.parse(p)
	return need, err
}

// parse cuts the first reply from p. If p is too short it returns how many bytes are missing at least.
func (r *Replies) parse(p []byte) (y reply, need int, err error) {
	if r.objects == 0 {
		return y, 0, protocolError("guest answered for an object that it was not given")
	}
	y.kind = p[0]
	at := 1
	number := func(limit int) int {
		n, k := binary.Uvarint(p[at:])
		switch {
		case k < 0 || k == 0 && len(p)-at >= binary.MaxVarintLen64:
			err = protocolError("malformed number")
		case k == 0:
			need = 1
		case n > uint64(limit):
			err = protocolError("reply " + strconv.QuoteRune(rune(y.kind)) + " of " + strconv.FormatUint(n, 10) +
				" bytes, more than the limit of " + strconv.Itoa(limit))
		}
		at += max(k, 0)
		return int(n)
	}
	var la, lb int
	switch y.kind {
	case kindRecord:
		if la = number(r.b.Key); err == nil && need == 0 {
			lb = number(r.b.Value)
		}
	case kindText:
		la = number(r.b.Value)
	case kindFail:
		la = number(maxReason)
	case kindCount:
		la = number(maxName)
	case kindOK, kindTimes:
		n, k := binary.Uvarint(p[at:])
		if k < 0 || k == 0 && len(p)-at >= binary.MaxVarintLen64 {
			return y, 0, protocolError("malformed number")
		}
		if k == 0 {
			return y, 1, nil
		}
		y.n, y.size = int64(n), at+k
		return y, 0, nil
	default:
		err = protocolError("guest wrote something that is not a reply (programs of the SDK must not print to stdout)")
	}
	if err != nil || need > 0 {
		return y, need, err
	}
	if missing := at + la + lb - len(p); missing > 0 {
		return y, missing, nil
	}
	y.a, y.b = p[at:at+la:at+la], p[at+la:at+la+lb:at+la+lb]
	y.size = at + la + lb
	if y.kind == kindCount {
		n, k := binary.Varint(p[y.size:])
		if k < 0 || k == 0 && len(p)-y.size >= binary.MaxVarintLen64 {
			return y, 0, protocolError("malformed number")
		}
		if k == 0 {
			return y, 1, nil
		}
		y.n = n
		y.size += k
	}
	return y, 0, nil
}

func (r *Replies) handle(y *reply) error {
	n := max(r.times, 1)
	if r.times > 0 && y.kind != kindRecord {
		return protocolError("no record where one must be that comes several times")
	}
	r.times = 0
	switch y.kind {
	case kindTimes:
		if y.n <= 0 {
			return protocolError("malformed number")
		}
		r.times = y.n
	case kindRecord:
		r.records += uint64(n)
		return r.h.Records(y.a, y.b, n)
	case kindText:
		r.records++
		return r.h.Text(y.a)
	case kindCount:
		r.h.Count(string(y.a), y.n)
	case kindFail:
		r.records = 0
		r.objects--
		r.h.Fail(string(y.a))
	case kindOK:
		if uint64(y.n) != r.records {
			return protocolError("guest counted " + strconv.FormatUint(uint64(y.n), 10) + " records, " +
				strconv.FormatUint(r.records, 10) + " came")
		}
		r.records = 0
		r.objects--
		r.h.OK()
	}
	return nil
}
