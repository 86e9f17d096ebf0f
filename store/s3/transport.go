package s3

import (
	"io"
	"net/http"
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
