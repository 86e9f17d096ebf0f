package swift

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/millrace/millrace/store"
)

const (
	agent        = "millrace"
	maxErrorBody = 8 << 10
)

// A request is one to be made of the account, as often as it takes. All of them may be made twice.
type request struct {
	method    string
	container string // "" is the account
	key       store.Key
	root      string // a path below the store's root in place of the account, asked for without a token
	query     url.Values
	header    map[string]string
	body      []byte
	tries     int // 0 means attempts
}

// set adds a header, if there is something to say.
func (r *request) set(name, value string) {
	if value == "" {
		return
	}
	if r.header == nil {
		r.header = map[string]string{}
	}
	r.header[name] = value
}

// An answer is one that is no success.
type answer struct {
	status int
	text   string // of the body, if that is plain text; fit to be shown
}

func (a *answer) Error() string {
	if a.text != "" {
		return fmt.Sprintf("store answered %d %s", a.status, a.text)
	}
	return fmt.Sprintf("store answered %d", a.status)
}

// do makes a request until it is answered with success, or with an error that will stay. The caller closes the body.
func (b *Bucket) do(ctx context.Context, r *request) (*http.Response, error) {
	tries := r.tries
	if tries == 0 {
		tries = attempts
	}
	var t ticket
	var refused *ticket
	for try := 1; ; try++ {
		var err error
		if t, err = b.login.ticket(ctx, refused); err != nil {
			return nil, err
		}
		resp, err := b.once(ctx, r, t)
		if err == nil && resp.StatusCode/100 == 2 {
			return resp, nil
		}
		var wait *http.Response
		if err == nil {
			if err = explainAnswer(resp, t.token); resp.StatusCode == http.StatusUnauthorized && refused == nil && r.root == "" && b.login.conn != nil {
				refused = &ticket{}
				*refused = t
				try-- // an old token is nobody's failure
				continue
			}
			if !again(resp.StatusCode) {
				return nil, err
			}
			wait = resp
		}
		if try >= tries || ctx.Err() != nil || !sleep(ctx, backoff(try, wait)) {
			return nil, err
		}
	}
}

func (b *Bucket) once(ctx context.Context, r *request, t ticket) (*http.Response, error) {
	address := t.url
	if r.root != "" {
		root, _, ok := strings.Cut(t.url, "/v1/")
		if !ok {
			return nil, &answer{status: http.StatusNotFound}
		}
		address = root + r.root
	} else if r.container != "" {
		if address += "/" + escape(r.container); r.key != "" {
			address += "/" + escape(string(r.key))
		}
	}
	if len(r.query) > 0 {
		address += "?" + r.query.Encode()
	}
	var body io.Reader
	if r.body != nil {
		body = bytes.NewReader(r.body)
	}
	req, err := http.NewRequestWithContext(ctx, r.method, address, body)
	if err != nil {
		return nil, errors.New("the account's address is malformed")
	}
	// Swift ends its answer to the HEAD of a container as if it had a body: the connection is of no use after it.
	req.Close = r.method == http.MethodHead && r.key == ""
	req.Header.Set("User-Agent", agent)
	for name, value := range r.header {
		req.Header.Set(name, value)
	}
	if t.token != "" && r.root == "" {
		req.Header.Set("X-Auth-Token", t.token)
	}
	resp, err := b.client.Do(req)
	if err != nil {
		return nil, cause(err)
	}
	return resp, nil
}

// head makes a request whose body does not matter, HEAD if it has no method, and returns the headers of the answer.
func (b *Bucket) head(ctx context.Context, r *request) (http.Header, error) {
	if r.method == "" {
		r.method = http.MethodHead
	}
	resp, err := b.do(ctx, r)
	if err != nil {
		return nil, err
	}
	_, _ = io.CopyN(io.Discard, resp.Body, maxErrorBody) // so that the connection can be used again
	resp.Body.Close()
	return resp.Header, nil
}

// escape writes a name as a path does. Nothing but slashes and letters without meaning stays as it is.
func escape(name string) string {
	const safe = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~/"
	var out strings.Builder
	for i := range len(name) {
		if strings.IndexByte(safe, name[i]) >= 0 {
			out.WriteByte(name[i])
		} else {
			fmt.Fprintf(&out, "%%%02X", name[i])
		}
	}
	return out.String()
}

// explainAnswer makes an error of an answer, whose body it takes. Should the body repeat the token, it is left out.
func explainAnswer(resp *http.Response, token string) error {
	a := &answer{status: resp.StatusCode}
	body, _ := io.ReadAll(io.LimitReader(resp.Body, maxErrorBody))
	resp.Body.Close()
	text := strings.Join(strings.Fields(string(body)), " ")
	if strings.HasPrefix(resp.Header.Get("Content-Type"), "text/plain") && text != "" && (token == "" || !strings.Contains(text, token)) {
		a.text = fmt.Sprintf("%.200q", text)
	}
	return a
}

// again reports whether a request that was answered so may succeed another time.
func again(status int) bool {
	switch status {
	case http.StatusRequestTimeout, http.StatusTooManyRequests, rateLimited, http.StatusInternalServerError, http.StatusBadGateway,
		http.StatusServiceUnavailable, http.StatusGatewayTimeout:
		return true
	}
	return false
}

// rateLimited is the status of Swift's own middleware that limits rates.
const rateLimited = 498

// backoff returns how long to wait after a number of tries: longer each time and by chance, at least what the store asks for.
func backoff(tries int, resp *http.Response) time.Duration {
	d := min(maxBackoff, 100*time.Millisecond<<(tries-1))
	d = d/2 + rand.N(d/2)
	if resp != nil {
		if sec, err := strconv.Atoi(resp.Header.Get("Retry-After")); err == nil && sec > 0 {
			d = max(d, min(maxBackoff, time.Duration(min(sec, 3600))*time.Second))
		}
	}
	return d
}

// sleep waits, and reports false if ctx ended first.
func sleep(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}
