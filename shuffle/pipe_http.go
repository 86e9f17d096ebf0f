package shuffle

import (
	"context"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"net/http"
	"net/url"
)

var errEndless = fmt.Errorf("%w: a body whose end cannot be told from a broken connection", errors.ErrUnsupported)

// HTTPScheme reads the bodies of what descriptors name as URLs, for "http" and "https". Only complete bodies have an end. Nil means
// http.DefaultClient.
func HTTPScheme(client *http.Client) Scheme {
	if client == nil {
		client = http.DefaultClient
	}
	return Scheme{Reader: func(d Descriptor) (PipeReader, error) {
		return NewPipeReader(newSource(func(ctx context.Context) (receiver, io.Closer, error) {
			body, err := get(ctx, client, string(d))
			if err != nil {
				return nil, nil, err
			}
			return frameBody(body), body, nil
		}), nil), nil
	}}
}

// get asks for a body. URLs may hold secrets: errors do not show them.
func get(ctx context.Context, client *http.Client, u string) (io.ReadCloser, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, u, nil)
	if err != nil {
		return nil, fmt.Errorf("%w: not a URL", errors.ErrUnsupported)
	}
	resp, err := client.Do(req)
	if ue, ok := errors.AsType[*url.Error](err); ok {
		err = ue.Err
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", req.URL.Host, err)
	}
	if resp.StatusCode != http.StatusOK {
		resp.Body.Close()
		return nil, fmt.Errorf("%s: %s", req.URL.Host, resp.Status)
	}
	if resp.ContentLength < 0 && resp.ProtoMajor == 1 && len(resp.TransferEncoding) == 0 && !resp.Uncompressed {
		resp.Body.Close()
		return nil, fmt.Errorf("%s: %w", req.URL.Host, errEndless)
	}
	return resp.Body, nil
}

// frameBody makes frames of a body, and an END at its end.
func frameBody(body io.Reader) receiver {
	buf, all := make([]byte, 64<<10), newTotal()
	return func() (Kind, []byte, uint32, error) {
		n, err := io.ReadAtLeast(body, buf, 1)
		if err == io.EOF {
			return End, all.end(), 0, nil
		}
		if err != nil {
			return 0, nil, 0, err
		}
		sum := crc32.Checksum(buf[:n], castagnoli)
		all.add(Data, n, sum)
		return Data, buf[:n], sum, nil
	}
}
