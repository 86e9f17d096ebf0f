package remote

import (
	"context"
	"net"
	"net/http"
	"time"
)

// stall is how long a connection may bring nothing before it is given up.
const stall = 60 * time.Second

// Tune makes a transport keep the connections of many parallel requests.
func Tune(t *http.Transport) {
	t.MaxIdleConns = 0
	t.MaxIdleConnsPerHost = 256
	t.ReadBufferSize = 32 << 10
	t.WriteBufferSize = 32 << 10
	t.ResponseHeaderTimeout = 5 * time.Minute // completing a large upload takes minutes
	t.MaxResponseHeaderBytes = 256 << 10
	t.DisableCompression = true
	dial := t.DialContext
	if dial == nil {
		dial = (&net.Dialer{Timeout: 10 * time.Second}).DialContext
	}
	t.DialContext = func(ctx context.Context, network, addr string) (net.Conn, error) {
		c, err := dial(ctx, network, addr)
		if err != nil {
			return nil, err
		}
		return &conn{Conn: c}, nil
	}
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
