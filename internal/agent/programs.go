package agent

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/millrace/millrace/internal/coordinator/brief"
	"github.com/millrace/millrace/shuffle"
	"github.com/millrace/millrace/shuffle/flight"
)

// programs are the program files that a node keeps, by digest. Each is fetched once.
type programs struct {
	dir  string
	data *flight.Node

	mu      sync.Mutex
	fetches map[string]*sync.Mutex // held by who fetches, by digest
}

// open opens the program of a digest, and fetches it if it is not there.
func (p *programs) open(ctx context.Context, digest string, from shuffle.Descriptor, as flight.Stamp) (*os.File, error) {
	if !brief.IsDigest(digest) {
		return nil, fmt.Errorf("program %.70q: not a SHA-256", digest)
	}
	one := p.lock(digest)
	one.Lock()
	defer one.Unlock()
	path := filepath.Join(p.dir, digest)
	f, err := os.Open(path)
	if !errors.Is(err, fs.ErrNotExist) {
		return f, err
	}
	if from == "" {
		return nil, fmt.Errorf("program %s: %w: its coordinator does not have it", digest, fs.ErrNotExist)
	}
	r, err := shuffle.Schemes{"flight": p.data.Scheme(as)}.OpenReader(ctx, from)
	if err != nil {
		return nil, fmt.Errorf("program %s: %w", digest, err)
	}
	err = brief.Receive(path, digest, r)
	r.Close()
	if err != nil {
		return nil, err
	}
	return os.Open(path)
}

func (p *programs) lock(digest string) *sync.Mutex {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.fetches == nil {
		p.fetches = map[string]*sync.Mutex{}
	}
	if p.fetches[digest] == nil {
		p.fetches[digest] = new(sync.Mutex)
	}
	return p.fetches[digest]
}

// keptTime is how long a coordinator may take to fetch a program that it does not have.
const keptTime = 10 * time.Minute

// program lets a coordinator fetch a program that this node has.
func (n *Node) program(_ context.Context, q brief.Query) (brief.Kept, error) {
	path := filepath.Join(n.o.Dir, q.Digest)
	if !brief.IsDigest(q.Digest) {
		return brief.Kept{}, fmt.Errorf("program %.70q: not a SHA-256", q.Digest)
	}
	if _, err := os.Stat(path); errors.Is(err, fs.ErrNotExist) {
		return brief.Kept{}, nil
	}
	at, forget, err := n.o.Data.Keep(brief.ProgramStamp(q.Job, q.Origin, q.Epoch), func() (io.ReadCloser, error) { return os.Open(path) })
	if err != nil {
		return brief.Kept{}, err
	}
	time.AfterFunc(keptTime, forget)
	return brief.Kept{At: at}, nil
}
