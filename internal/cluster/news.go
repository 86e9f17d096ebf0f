package cluster

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/nats-io/nats.go"
)

// Most pieces of news that wait for a subscriber, and their bytes. What comes when they are full is lost.
const (
	pendingNews      = 1024
	pendingNewsBytes = 16 << 20
)

// Publish sends news to all who are subscribed to subject now. Nobody says whether it arrived: for cancellations
// and progress, which are repeated or found out in other ways.
func (c *Cluster) Publish(ctx context.Context, subject string, news []byte) error {
	if err := checkSubject(subject); err != nil {
		return err
	}
	return c.publish(ctx, newsPrefix, subject, news)
}

func (c *Cluster) publish(ctx context.Context, prefix, subject string, news []byte) error {
	if len(news) > MaxMessage {
		return fmt.Errorf("publish %s: %w: %d bytes of %d", subject, ErrTooLarge, len(news), MaxMessage)
	}
	if err := c.conn.Publish(prefix+subject, appendRequest(nil, Epoch(ctx), news)); err != nil {
		return c.wrap("publish "+subject, err)
	}
	return nil
}

// Subscribe calls h for news of subject, one at a time, until stop is called or ctx ends; Epoch and Subject of its context are those of the news.
// A part of subject may be "*", any one word, and its last ">", any rest. When h is slow, news are lost. stop waits for h, which must not call it.
func (c *Cluster) Subscribe(ctx context.Context, subject string, h func(ctx context.Context, news []byte)) (stop func(), err error) {
	if err := checkPattern(subject); err != nil {
		return nil, err
	}
	return c.subscribe(ctx, newsPrefix, subject, func(ctx context.Context, subject string, news []byte) {
		h(context.WithValue(ctx, subjectKey{}, subject), news)
	})
}

// subscribe is Subscribe, for h that is told the subject without its prefix as well.
func (c *Cluster) subscribe(ctx context.Context, prefix, subject string, h func(ctx context.Context, subject string, news []byte)) (stop func(), err error) {
	sub, err := c.conn.SubscribeSync(prefix + subject)
	if err != nil {
		return nil, c.wrap("subscribe "+subject, err)
	}
	if err := sub.SetPendingLimits(pendingNews, pendingNewsBytes); err != nil {
		return nil, c.wrap("subscribe "+subject, err)
	}
	if err := c.conn.Flush(); err != nil {
		return nil, c.wrap("subscribe "+subject, err)
	}
	ctx, cancel := context.WithCancel(ctx)
	var running sync.WaitGroup
	running.Go(func() {
		defer sub.Unsubscribe()
		for {
			m, err := sub.NextMsgWithContext(ctx)
			if errors.Is(err, nats.ErrSlowConsumer) {
				continue
			}
			if err != nil {
				return
			}
			if epoch, news, err := parseRequest(m.Data); err == nil {
				h(WithEpoch(ctx, epoch), m.Subject[len(prefix):], news)
			}
		}
	})
	stop, err = c.keep(func() { cancel(); running.Wait() })
	if err != nil {
		cancel()
		running.Wait()
	}
	return stop, err
}
