package s3

import (
	"io"
	"net"
	"net/http"
	"time"
)

// A client bounds what is read of an error, which the SDK takes into memory whole.
type client struct{ http http.Client }

func (c *client) Do(req *http.Request) (*http.Response, error) {
	resp, err := c.http.Do(req)
	if err == nil && resp.StatusCode >= 300 {
		resp.Body = struct {
			io.Reader
			io.Closer
		}{io.LimitReader(resp.Body, maxErrorBody), resp.Body}
	}
	return resp, err
}

// A conn gives up when the other side sends nothing for too long while something is awaited.
type conn struct {
	net.Conn
	next time.Time // when the deadline is moved again; used by the one goroutine that reads
}

func (c *conn) Read(p []byte) (int, error) {
	// Moving a deadline costs as much as a small read: it is moved at most once in a second.
	if now := time.Now(); now.After(c.next) {
		if err := c.SetReadDeadline(now.Add(stall)); err != nil {
			return 0, err
		}
		c.next = now.Add(time.Second)
	}
	return c.Conn.Read(p)
}
