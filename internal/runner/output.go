package runner

// An output sends text to the agent. What lies between two ends of a T frame is the text of whole objects.
type output struct {
	conn *Conn
	buf  []byte
}

const flushAt = 64 << 10

// write takes the text of one object.
func (o *output) write(p []byte) error {
	o.buf = append(o.buf, p...)
	if len(o.buf) < flushAt {
		return nil
	}
	return o.flush()
}

// flush sends what is there.
func (o *output) flush() error {
	for b := o.buf; len(b) > 0; {
		k, n := KindText, len(b)
		if n > MaxFrame-1 {
			k, n = KindMore, MaxFrame-1
		}
		if err := o.conn.Send(k, b[:n]); err != nil {
			return err
		}
		b = b[n:]
	}
	o.buf = o.buf[:0]
	return nil
}
