package shuffle

import "io"

// Relay writes to w what comes from r, batch by batch and without a look inside, until r ends, and then ends w in the same way: by Close
// after io.EOF, else by Abort with the reason. If w fails, it closes r, whose writer gets EPIPE. Both are open, and made by this package;
// Relay closes them. The error is that of the side which failed first.
func Relay(w PipeWriter, r PipeReader) error {
	defer r.Close()
	for {
		piece, more, err := r.(pieces).next()
		if err == io.EOF {
			return w.Close()
		}
		if err == nil {
			_, err = w.(parts).write(piece, more)
		}
		if err != nil {
			_ = w.Abort(aborted(err).reason)
			return err
		}
	}
}
