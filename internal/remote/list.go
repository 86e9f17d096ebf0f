package remote

import (
	"context"
	"fmt"
	"math/big"
	"slices"
	"strings"
	"sync"

	"github.com/millrace/millrace/store"
)

const (
	ahead = 256_000 // objects that may wait to be yielded
	// spareSplits is how many requests more than the pages that brought something a listing may spend on looking
	// where the keys are.
	spareSplits = 48
)

// A Page is one answer of a store.
type Page struct {
	Objects   []store.Object
	Truncated bool   // there is more
	Token     string // to go on where a truncated page is empty
}

// A Fetcher returns the objects under prefix after a key, in order, up to a full page; or those at token, if that is not empty.
type Fetcher func(ctx context.Context, prefix, after, token string) (Page, error)

// List yields the objects under prefix after the key after by up to requests calls of fetch at once, whose full pages have pageKeys objects: it
// cuts the keys still to be listed into ranges, lists them side by side, and yields them in order. What lies ahead of the caller is bounded. It
// returns the error that ended the listing, and nil if yield did.
func List(ctx context.Context, fetch Fetcher, prefix, after string, pageKeys, requests int, yield func(store.Object) bool) error {
	ctx, cancel := context.WithCancelCause(ctx)
	l := &lister{ctx: ctx, fetch: fetch, prefix: prefix, pageKeys: pageKeys, requests: requests}
	l.cond.L = &l.mu
	l.segments = []*segment{{after: after}}
	var wg sync.WaitGroup
	defer wg.Wait()
	defer cancel(context.Canceled)
	defer l.wake(cancel)()
	wg.Go(l.work)
	for started := 1; ; {
		objects, more, busy, err := l.next()
		if err != nil {
			return err
		}
		// A small listing needs one request and one goroutine.
		for ; busy && started < requests; started++ {
			wg.Go(l.work)
		}
		for _, o := range objects {
			if !yield(o) {
				return nil
			}
		}
		if !more {
			return nil
		}
	}
}

// A segment is a range of keys: those after after, up to and including upto. Segments are consecutive. All
// fields are guarded by the lister's mutex.
type segment struct {
	after string // moves on as pages come
	upto  string // "" means all
	token string // where to go on after an empty page

	inFlight bool
	done     bool
	pages    [][]store.Object // fetched, not yet yielded

	measured    bool   // a page came that was not the last:
	first, last string // it began after first and reached to last
	empty       int    // empty pages in a row
}

// A lister is one listing under way.
type lister struct {
	ctx      context.Context
	fetch    Fetcher
	prefix   string
	pageKeys int
	requests int

	mu       sync.Mutex
	cond     sync.Cond
	segments []*segment // the first is the one being yielded
	ruler    ruler
	waiting  int // objects fetched, not yet yielded
	flying   int // requests in flight
	splits   int // made
	useful   int // pages that brought something
	err      error
}

// wake makes all waiters look again when the context ends; the function returned undoes that.
func (l *lister) wake(cancel context.CancelCauseFunc) func() {
	stop := context.AfterFunc(l.ctx, func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		l.cond.Broadcast()
	})
	return func() {
		cancel(context.Canceled)
		stop()
		l.mu.Lock()
		defer l.mu.Unlock()
		l.cond.Broadcast()
	}
}

// next waits for objects that come next. more says whether there is anything after them, busy whether the listing is long.
func (l *lister) next() (objects []store.Object, more, busy bool, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for {
		head := l.segments[0]
		switch {
		case l.ctx.Err() != nil && l.err == nil:
			return nil, false, false, context.Cause(l.ctx)
		case len(head.pages) > 0:
			objects = head.pages[0]
			head.pages = head.pages[1:]
			l.waiting -= len(objects)
			l.cond.Broadcast()
			return objects, true, head.measured || len(l.segments) > 1, nil
		case head.done && len(l.segments) == 1:
			return nil, false, false, nil
		case head.done:
			l.segments = l.segments[1:]
			l.cond.Broadcast()
			continue
		case l.err != nil:
			return nil, false, false, l.err
		}
		l.cond.Wait()
	}
}

// work fetches page after page until there is nothing left to do.
func (l *lister) work() {
	l.mu.Lock()
	defer l.mu.Unlock()
	for {
		s := l.pick()
		if s == nil {
			return
		}
		s.inFlight = true
		l.flying++
		after, token := s.after, s.token
		l.mu.Unlock()
		p, err := l.fetch(l.ctx, l.prefix, after, token)
		l.mu.Lock()
		l.flying--
		s.inFlight = false
		if err == nil {
			err = l.take(s, p, after)
		}
		if err != nil && l.err == nil && l.ctx.Err() == nil { // a context that has ended says why itself
			l.err = err
		}
		l.cond.Broadcast()
	}
}

// pick waits for a segment whose next page is to be fetched. It returns nil at the end.
func (l *lister) pick() *segment {
	for {
		if l.err != nil || l.ctx.Err() != nil {
			return nil
		}
		for i, s := range l.segments {
			if !s.done && !s.inFlight && (i == 0 || l.waiting+l.flying*l.pageKeys < ahead) {
				return s
			}
		}
		if !slices.ContainsFunc(l.segments, func(s *segment) bool { return !s.done }) {
			return nil
		}
		if l.waiting+l.flying*l.pageKeys < ahead && l.split() {
			l.cond.Broadcast()
			continue
		}
		l.cond.Wait()
	}
}

// take adds a page to s. It refuses one that breaks the rules of a listing.
func (l *lister) take(s *segment, p Page, after string) error {
	last := after
	for _, o := range p.Objects {
		if string(o.Key) <= last || !strings.HasPrefix(string(o.Key), l.prefix) {
			return fmt.Errorf("%w: key %.200q after %.200q", store.ErrListing, o.Key, last)
		}
		last = string(o.Key)
	}
	if len(p.Objects) == 0 && p.Truncated {
		if s.empty++; p.Token == "" || p.Token == s.token || s.empty > 1000 {
			return fmt.Errorf("%w: empty pages without end after %.200q", store.ErrListing, after)
		}
		s.token = p.Token
		return nil
	}
	s.token, s.empty = "", 0
	for i := 0; i < len(p.Objects); i += 37 {
		l.ruler.learn(string(p.Objects[i].Key))
	}
	l.ruler.learn(last)
	objects := p.Objects
	if s.upto != "" && last > s.upto { // also where the segment was cut while this page was in flight
		n, found := slices.BinarySearchFunc(objects, s.upto, func(o store.Object, k string) int { return strings.Compare(string(o.Key), k) })
		if found {
			n++
		}
		objects = objects[:n]
		s.done = true
	}
	if !p.Truncated || s.upto != "" && last == s.upto {
		s.done = true
	}
	if len(objects) > 0 {
		s.pages = append(s.pages, objects)
		l.waiting += len(objects)
		l.useful++
		s.first, s.last = string(objects[0].Key), last
		s.measured = len(objects) > 1
	}
	s.after = last
	return nil
}

// split cuts the segments that seem to take longest, one piece for each request that could be in flight and is not. It reports
// whether it cut any.
func (l *lister) split() bool {
	free := l.requests - l.flying
	if free <= 0 || l.splits > spareSplits+3*l.useful {
		return false
	}
	type victim struct {
		at       int
		est      int64
		s        scale
		lo, hi   *big.Int
		span     *big.Int
		original *segment
	}
	var victims []victim
	total := int64(0)
	for i, s := range l.segments {
		if s.done || !s.measured {
			continue
		}
		sc := l.ruler.scale(l.prefix, s.after, s.upto)
		lo, hi := sc.number(s.after), sc.end()
		if s.upto != "" {
			hi = sc.number(s.upto)
		}
		v := victim{at: i, s: sc, lo: lo, hi: hi, original: s}
		first, last := l.ruler.scale(l.prefix, s.after, s.upto).number(s.first), sc.number(s.last)
		if !strings.HasPrefix(s.first, sc.prefix) {
			first = new(big.Int)
		}
		v.span = new(big.Int).Sub(last, first)
		v.est = sc.pages(first, last, lo, hi)
		if v.est >= 2 {
			victims = append(victims, v)
			total += v.est
		}
	}
	if len(victims) == 0 {
		return false
	}
	slices.SortFunc(victims, func(a, b victim) int { return int(b.est - a.est) })
	cutAny := false
	added := map[*segment][]*segment{}
	for _, v := range victims {
		n := int((v.est*int64(free) + total - 1) / total)
		n = min(n, free, int(min(v.est-1, int64(free))))
		if n <= 0 {
			continue
		}
		s := v.original
		prev := s.after
		end := s.upto
		for _, cut := range v.s.cuts(n, v.span, v.lo, v.hi, v.est) {
			if cut <= prev || end != "" && cut >= end || !strings.HasPrefix(cut, l.prefix) {
				continue
			}
			piece := &segment{after: cut, upto: end}
			if list := added[s]; len(list) > 0 {
				list[len(list)-1].upto = cut
			} else {
				s.upto = cut
			}
			added[s] = append(added[s], piece)
			prev = cut
			cutAny = true
			l.splits++
			free--
		}
		total -= v.est
		if free <= 0 || total <= 0 {
			break
		}
	}
	if !cutAny {
		return false
	}
	segments := make([]*segment, 0, len(l.segments)+l.requests)
	for _, s := range l.segments {
		segments = append(append(segments, s), added[s]...)
	}
	l.segments = segments
	return true
}
