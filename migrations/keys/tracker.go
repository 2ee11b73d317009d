package keys

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"sync"

	"github.com/gomodule/redigo/redis"
)

// tracker is told by the server which keys are written, also those that were there before: client side caching in its
// broadcasting mode (redis.io/docs/latest/develop/reference/client-side-caching), which Redis has since version 6. The
// server sends names of keys and nothing else. It does not tell the database, nor a write from an expiry.
type tracker struct {
	conn redis.Conn

	mu     sync.Mutex
	names  map[string]struct{}
	missed bool // there were more than maxKeys, or the connection was lost
	pongs  chan string
	ended  chan struct{}
}

// track begins, or returns nil where the server does not know how to.
func track(ctx context.Context, conn redis.Conn, address string) (*tracker, error) {
	listener, err := redis.DialURLContext(ctx, address, redis.DialConnectTimeout(connectTimeout), redis.DialWriteTimeout(answerTimeout))
	if err != nil {
		return nil, fmt.Errorf("connect: %w", err)
	}
	t := &tracker{conn: listener, names: map[string]struct{}{}, pongs: make(chan string, 1), ended: make(chan struct{})}
	id, err := redis.Int64(redis.DoContext(listener, ctx, "CLIENT", "ID"))
	if err == nil {
		_, err = redis.DoContext(listener, ctx, "SUBSCRIBE", "__redis__:invalidate")
	}
	if err == nil {
		_, err = redis.DoContext(conn, ctx, "CLIENT", "TRACKING", "ON", "REDIRECT", id, "BCAST")
	}
	if err != nil {
		_ = listener.Close()
		if refused := redis.Error(""); errors.As(err, &refused) {
			err = nil
		}
		return nil, err
	}
	go t.listen()
	return t, nil
}

// listen collects what the server says, until the connection ends.
func (t *tracker) listen() {
	defer close(t.ended)
	for {
		message, err := redis.Values(t.conn.Receive())
		if err != nil {
			return
		}
		switch kind, _ := redis.String(message[0], nil); kind {
		case "pong":
			pong, _ := redis.String(message[1], nil)
			select {
			case t.pongs <- pong:
			default: // nobody waits for it any more
			}
		case "message": // nil after a flush
			names, _ := redis.Strings(message[2], nil)
			t.mu.Lock()
			for _, name := range names {
				if len(t.names) >= maxKeys {
					t.missed = true
					break
				}
				t.names[name] = struct{}{}
			}
			t.mu.Unlock()
		}
	}
}

// take is what was written since the last time, and whether something may be missing. The answer to a PING comes behind all
// that was said before it.
func (t *tracker) take(ctx context.Context) (names map[string]struct{}, missed bool) {
	ctx, cancel := context.WithTimeout(ctx, answerTimeout)
	defer cancel()
	ping := rand.Text()
	select {
	case <-t.pongs: // of a time that was given up
	default:
	}
	err := t.conn.Send("PING", ping)
	if err == nil {
		err = t.conn.Flush()
	}
	for pong := ""; err == nil && pong != ping; {
		select {
		case pong = <-t.pongs:
		case <-t.ended:
			err = errors.New("the connection was lost")
		case <-ctx.Done():
			err = ctx.Err()
		}
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	names, missed = t.names, t.missed || err != nil
	t.names, t.missed = map[string]struct{}{}, false
	return names, missed
}

func (t *tracker) close() {
	_ = t.conn.Close()
	<-t.ended
}
