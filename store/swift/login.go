package swift

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"strings"
	"time"

	client "github.com/ncw/swift/v2"

	"github.com/millrace/millrace/store"
)

// A login gets tokens and keeps the current one. It may be used concurrently.
type login struct {
	conn    *client.Connection // nil: there is no way to get a token
	storage string             // address of the account, in place of the one that a login names
	tls     *tls.Config

	busy chan struct{} // held by who reads or changes the rest
	now  ticket
	made time.Time // zero if there is no ticket yet
}

// A ticket is what a request needs. Without a token it is anonymous.
type ticket struct {
	url, token string
	expires    time.Time // zero if unknown
}

func newLogin(conn *client.Connection) *login {
	return &login{conn: conn, busy: make(chan struct{}, 1)}
}

func v1(authURL, user, key string) *login {
	return newLogin(&client.Connection{AuthUrl: authURL, UserName: user, ApiKey: key, AuthVersion: 1})
}

// fromEnvironment reads the variables that Swift's own tools read.
func fromEnvironment() (*login, error) {
	conn := &client.Connection{}
	if err := conn.ApplyEnvironment(); err != nil {
		return nil, errors.New("a variable OS_…, ST_… or GOSWIFT_… of the environment is malformed")
	}
	l := newLogin(conn)
	l.storage = conn.StorageUrl
	l.now = ticket{url: strings.TrimSuffix(conn.StorageUrl, "/"), token: conn.AuthToken}
	conn.StorageUrl, conn.AuthToken = "", ""
	if name := os.Getenv("OS_CACERT"); name != "" {
		pem, err := os.ReadFile(name)
		if err != nil {
			return nil, fmt.Errorf("OS_CACERT: %w", err)
		}
		pool := x509.NewCertPool()
		if !pool.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("OS_CACERT: %s holds no certificate", name)
		}
		l.tls = &tls.Config{RootCAs: pool}
	}
	for _, raw := range []string{conn.AuthUrl, l.storage} {
		if u, err := url.Parse(raw); raw != "" && (err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "") {
			return nil, errors.New("OS_AUTH_URL, ST_AUTH or OS_STORAGE_URL is not an address like https://host:port/path")
		}
	}
	if conn.AuthUrl == "" {
		if l.storage == "" {
			return nil, fmt.Errorf("%w: neither OS_AUTH_URL nor ST_AUTH nor OS_STORAGE_URL is set", store.ErrPermission)
		}
		l.conn, l.made = nil, time.Now()
		return l, nil
	}
	if l.now.url != "" && l.now.token != "" {
		l.made = time.Now()
	}
	if conn.AuthVersion == 0 && os.Getenv("OS_AUTH_URL") != "" && !strings.Contains(conn.AuthUrl, "/v") {
		conn.AuthUrl = strings.TrimSuffix(conn.AuthUrl, "/") + "/v3"
	}
	if conn.AuthVersion == 0 && os.Getenv("OS_AUTH_URL") == "" {
		conn.AuthVersion = 1
	}
	return l, nil
}

// use makes the login speak through t.
func (l *login) use(t *http.Transport) {
	if l.conn != nil {
		l.conn.Transport = t
		l.conn.ConnectTimeout = loginWait
		l.conn.UserAgent = agent
	}
}

// ticket returns the current ticket. If that is the one refused, or about to expire, it gets another one first: many requests
// that were refused at once make one login.
func (l *login) ticket(ctx context.Context, refused *ticket) (ticket, error) {
	select {
	case l.busy <- struct{}{}:
		defer func() { <-l.busy }()
	case <-ctx.Done():
		return ticket{}, context.Cause(ctx)
	}
	fresh := !l.made.IsZero() && (l.now.expires.IsZero() || time.Until(l.now.expires) > time.Minute || time.Since(l.made) < time.Minute)
	if fresh && (refused == nil || *refused != l.now) {
		return l.now, nil
	}
	if l.conn == nil {
		return ticket{}, fmt.Errorf("%w: the token is refused, and there is no OS_AUTH_URL or ST_AUTH to get another one", store.ErrPermission)
	}
	var err error
	for try := range attempts {
		if try > 0 && !sleep(ctx, backoff(try, nil)) {
			return ticket{}, context.Cause(ctx)
		}
		l.conn.UnAuthenticate()
		if err = l.conn.Authenticate(ctx); err == nil {
			break
		}
		if ctx.Err() != nil {
			return ticket{}, context.Cause(ctx)
		}
		if e, ok := errors.AsType[*client.Error](err); ok && (!again(e.StatusCode) || e.StatusCode == 0) || try == 2 {
			return ticket{}, loginError(err)
		}
	}
	if err != nil {
		return ticket{}, loginError(err)
	}
	l.now = ticket{url: strings.TrimSuffix(l.conn.StorageUrl, "/"), token: l.conn.AuthToken, expires: l.conn.Expires}
	if l.storage != "" {
		l.now.url = strings.TrimSuffix(l.storage, "/")
	}
	l.made = time.Now()
	return l.now, nil
}

// loginError tells what failed without repeating what the server said, which may be what it was sent.
func loginError(err error) error {
	e, ok := errors.AsType[*client.Error](err)
	switch {
	case !ok:
		return fmt.Errorf("login: %w", cause(err))
	case e.StatusCode == http.StatusUnauthorized || e.StatusCode == http.StatusForbidden || e.StatusCode == http.StatusBadRequest:
		return fmt.Errorf("%w: login is refused (%d)", store.ErrPermission, e.StatusCode)
	case e.StatusCode == http.StatusNotFound:
		return errors.New("login: nothing answers logins at this address (404)")
	case e.StatusCode == 0:
		return errors.New("login: the answer names no object store and token (is the region right?)")
	default:
		return fmt.Errorf("login: server answered %d", e.StatusCode)
	}
}

// cause returns the innermost error: the layers above it repeat the request.
func cause(err error) error {
	for {
		inner := errors.Unwrap(err)
		if inner == nil {
			return err
		}
		err = inner
	}
}
