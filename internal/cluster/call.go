package cluster

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/nats-io/nats.go"
)

// A RemoteError is an error that a handler returned, as its caller gets it. A handler that returns a *RemoteError says its code;
// any other error gets the code "error".
type RemoteError struct {
	Code string // a short word for programs, at most 255 bytes
	Text string // for people
}

func (e *RemoteError) Error() string { return e.Text }

// A Handler answers a request. Its context ends when the service is stopped; Epoch has the epoch of the request, Subject its subject. The request is
// its own.
type Handler func(ctx context.Context, req []byte) ([]byte, error)

// Most requests that wait for a handler, and their bytes. More are dropped, and their callers wait until their contexts end.
const (
	pendingCalls     = 4096
	pendingCallBytes = 64 << 20
)

// Serve answers the calls to subject until stop is called or ctx ends. A part of subject may be "*", any one word. Handlers run concurrently, as many
// as Options.Handlers; several services of one subject share its calls. stop waits for handlers, whose contexts it ends; they must not call it.
func (c *Cluster) Serve(ctx context.Context, subject string, h Handler) (stop func(), err error) {
	if err := checkPattern(subject); err != nil {
		return nil, err
	}
	sub, err := c.conn.QueueSubscribeSync(callPrefix+subject, "millrace")
	if err != nil {
		return nil, c.wrap("serve "+subject, err)
	}
	if err := sub.SetPendingLimits(pendingCalls, pendingCallBytes); err != nil {
		return nil, c.wrap("serve "+subject, err)
	}
	if err := c.conn.Flush(); err != nil { // whoever calls after Serve has returned finds us
		return nil, c.wrap("serve "+subject, err)
	}
	ctx, cancel := context.WithCancel(ctx)
	var running sync.WaitGroup
	slots := make(chan struct{}, c.handlers)
	running.Go(func() {
		defer sub.Unsubscribe()
		for {
			m, err := sub.NextMsgWithContext(ctx)
			if errors.Is(err, nats.ErrSlowConsumer) {
				continue // told once when requests were dropped
			}
			if err != nil {
				return
			}
			select {
			case slots <- struct{}{}:
			case <-ctx.Done():
				return
			}
			running.Go(func() {
				defer func() { <-slots }()
				ctx := context.WithValue(ctx, subjectKey{}, m.Subject[len(callPrefix):])
				m.Respond(answer(ctx, m.Data, h))
			})
		}
	})
	stop, err = c.keep(func() { cancel(); running.Wait() })
	if err != nil {
		cancel()
		running.Wait()
	}
	return stop, err
}

// answer returns the reply to a request.
func answer(ctx context.Context, request []byte, h Handler) []byte {
	epoch, req, err := parseRequest(request)
	var resp []byte
	if err == nil {
		resp, err = h(WithEpoch(ctx, epoch), req)
	}
	if err == nil && len(resp) > MaxMessage {
		err = fmt.Errorf("reply: %w: %d bytes of %d", ErrTooLarge, len(resp), MaxMessage)
	}
	return appendReply(nil, resp, err)
}

// Call sends req to a service of subject and waits for its answer until ctx ends. An error of the handler is a *RemoteError.
// The epoch of ctx, if it has one, goes with the request. A call may have been served although it failed.
func (c *Cluster) Call(ctx context.Context, subject string, req []byte) ([]byte, error) {
	if err := checkSubject(subject); err != nil {
		return nil, err
	}
	if len(req) > MaxMessage {
		return nil, fmt.Errorf("call %s: %w: %d bytes of %d", subject, ErrTooLarge, len(req), MaxMessage)
	}
	m, err := c.conn.RequestWithContext(ctx, callPrefix+subject, appendRequest(nil, Epoch(ctx), req))
	if err != nil {
		if ctx.Err() != nil {
			err = context.Cause(ctx)
		}
		return nil, c.wrap("call "+subject, err)
	}
	resp, err := parseReply(m.Data)
	if err != nil {
		return nil, fmt.Errorf("call %s: %w", subject, err)
	}
	return resp, nil
}

// wrap says in our words what the engine said.
func (c *Cluster) wrap(op string, err error) error {
	switch {
	case errors.Is(err, nats.ErrNoResponders):
		err = ErrNobody
	case errors.Is(err, nats.ErrConnectionClosed):
		err = ErrClosed
	}
	if s := c.serverName(); s != "" {
		return fmt.Errorf("%s (server %s): %w", op, s, err)
	}
	return fmt.Errorf("%s: %w", op, err)
}

type (
	epochKey   struct{}
	subjectKey struct{}
)

// Subject returns, in a handler of calls or of news, what was called or told: an engine of Listen lets an agent use none of another's.
func Subject(ctx context.Context) string {
	s, _ := ctx.Value(subjectKey{}).(string)
	return s
}

// WithEpoch returns a context in which calls and news carry the epoch of a coordinator.
func WithEpoch(ctx context.Context, epoch uint64) context.Context {
	return context.WithValue(ctx, epochKey{}, epoch)
}

// Epoch returns the epoch of ctx: what WithEpoch said, and in a handler, that of the request. 0 is none.
func Epoch(ctx context.Context) uint64 {
	e, _ := ctx.Value(epochKey{}).(uint64)
	return e
}
