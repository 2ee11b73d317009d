// Package keys looks at what releases do to the keys of a Redis server that they share: Redis has no schema, but its keys'
// names, types and meaning are an interface between the release that runs and the next one all the same. A rehearsal opens a
// Watch before its first phase, marks the end of each, and asks for the findings. No value is ever read, and no key shown:
// a key may hold user data, so what is shown is the form that many keys have in common.
package keys

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/gomodule/redigo/redis"
)

// Bounds of what a Mark looks at. What lies beyond is said in a finding.
const (
	maxKeys = 100_000
	maxTime = 10 * time.Second
	chunk   = 500 // keys in one round trip

	connectTimeout = 10 * time.Second
	answerTimeout  = 10 * time.Second
)

// destructive are the commands that take a running release's keys away, or swap them for others.
var destructive = []string{"flushall", "flushdb", "swapdb", "debug"}

// Watch sees what happens on a server between one mark and the next. It is for one goroutine.
type Watch struct {
	conn    redis.Conn
	tracker *tracker // nil where the server does not tell

	server string           // its run id, which a restart changes
	calls  map[string]int64 // of the destructive commands, so far
	before map[string]string
	whole  bool // before has every key
	phases []phase
}

// phase is what happened between two marks.
type phase struct {
	label   string
	called  map[string]int64 // destructive commands
	written []key
	partial bool // there were more keys than were looked at
	blind   bool // overwritten keys were not seen
}

// key is one that a phase has written.
type key struct {
	name    string
	kind    string // Redis's TYPE; "" where it is gone again, or in another database
	was     string // the type at the mark before; "" where it was not there
	forever bool   // it has no TTL
}

// Open connects, redis://[user:password@]host:port/database, and remembers what is there. No error shows the URL, which may
// hold a password.
func Open(ctx context.Context, address string) (*Watch, error) {
	u, err := url.Parse(address)
	if err != nil || u.Opaque != "" || u.Host == "" {
		return nil, errors.New("watch Redis: the URL cannot be read (it is not shown, for it may hold a password): " +
			"write redis://user:password@host:port/database, with special characters as %XX")
	}
	conn, err := redis.DialURLContext(ctx, address, redis.DialConnectTimeout(connectTimeout), redis.DialReadTimeout(answerTimeout),
		redis.DialWriteTimeout(answerTimeout))
	if err != nil {
		return nil, fmt.Errorf("watch Redis: connect: %w", ended(ctx, err))
	}
	w := &Watch{conn: conn}
	if w.tracker, err = track(ctx, conn, address); err == nil {
		_, err = w.count(ctx)
	}
	if err == nil {
		_, err = w.look(ctx, nil)
	}
	if err != nil {
		w.Close()
		return nil, fmt.Errorf("watch Redis: %w", ended(ctx, err))
	}
	return w, nil
}

// Close ends the connections.
func (w *Watch) Close() {
	if w.tracker != nil {
		w.tracker.close()
	}
	_ = w.conn.Close()
}

// Mark ends a phase, such as "running release", "migrate" or "new release": what happened since the mark before, or since
// Open, is what the phase did.
func (w *Watch) Mark(ctx context.Context, label string) error {
	p := phase{label: label, blind: w.tracker == nil}
	var touched map[string]struct{}
	var err error
	if w.tracker != nil {
		touched, p.blind = w.tracker.take(ctx)
	}
	if p.called, err = w.count(ctx); err == nil {
		var found scan
		found, err = w.look(ctx, touched)
		p.written, p.partial = found.written, found.partial
	}
	if err != nil {
		return fmt.Errorf("look at Redis after %s: %w", label, ended(ctx, err))
	}
	w.phases = append(w.phases, p)
	return nil
}

// count returns how often the destructive commands were called since the last time. A server that was started anew, or
// whose statistics were reset, counts from zero.
func (w *Watch) count(ctx context.Context) (called map[string]int64, err error) {
	answer, err := redis.String(redis.DoContext(w.conn, ctx, "INFO", "all"))
	if err != nil {
		return nil, fmt.Errorf("read INFO: %w", err)
	}
	now, server := map[string]int64{}, ""
	for line := range strings.Lines(answer) {
		name, value, _ := strings.Cut(strings.TrimSpace(line), ":")
		if name == "run_id" {
			server = value
		}
		if command, found := strings.CutPrefix(name, "cmdstat_"); found {
			calls, _, _ := strings.Cut(strings.TrimPrefix(value, "calls="), ",")
			command, _, _ = strings.Cut(command, "|")
			n, _ := strconv.ParseInt(calls, 10, 64)
			now[command] += n
		}
	}
	called = map[string]int64{}
	for _, command := range destructive {
		since := now[command]
		if server == w.server && since >= w.calls[command] {
			since -= w.calls[command]
		}
		if since > 0 {
			called[command] = since
		}
	}
	w.calls, w.server = now, server
	return called, nil
}

// scan is what a look has found.
type scan struct {
	written []key
	partial bool
}

// look finds what was written: the keys that the server told of, those that are new, and those that have another type.
// What it sees is what the next look compares with.
func (w *Watch) look(ctx context.Context, touched map[string]struct{}) (found scan, err error) {
	now := make(map[string]string, len(w.before))
	see := func(names []string) error {
		states, err := w.inspect(ctx, names)
		for _, k := range states {
			was, known := w.before[k.name]
			_, told := touched[k.name]
			if k.kind != "" {
				now[k.name] = k.kind
			}
			switch {
			case k.kind == "" && known: // it was deleted, or has expired
			case told, !known && w.whole && k.kind != "", known && was != k.kind:
				k.was = was
				found.written = append(found.written, k)
			}
		}
		return err
	}
	var told []string
	for name := range touched {
		told = append(told, name)
	}
	if err := see(told); err != nil {
		return found, err
	}
	end := time.Now().Add(maxTime)
	for cursor := "0"; ; {
		answer, err := redis.Values(redis.DoContext(w.conn, ctx, "SCAN", cursor, "COUNT", chunk))
		var names []string
		if err == nil {
			_, err = redis.Scan(answer, &cursor, &names)
		}
		if err != nil {
			return found, fmt.Errorf("scan keys: %w", err)
		}
		fresh := names[:0]
		for _, name := range names {
			if _, seen := now[name]; !seen {
				fresh = append(fresh, name)
			}
		}
		if err := see(fresh); err != nil {
			return found, err
		}
		if cursor == "0" {
			break
		}
		if len(now) >= maxKeys || time.Now().After(end) {
			found.partial = true
			break
		}
	}
	w.before, w.whole = now, !found.partial
	return found, nil
}

// inspect asks for type and time to live of keys.
func (w *Watch) inspect(ctx context.Context, names []string) (states []key, err error) {
	for ; len(names) > 0; names = names[min(chunk, len(names)):] {
		part := names[:min(chunk, len(names))]
		for _, name := range part {
			if err := errors.Join(w.conn.Send("TYPE", name), w.conn.Send("PTTL", name)); err != nil {
				return states, fmt.Errorf("look at keys: %w", err)
			}
		}
		answers, err := redis.Values(redis.DoContext(w.conn, ctx, ""))
		if err != nil {
			return states, fmt.Errorf("look at keys: %w", err)
		}
		for i, name := range part {
			kind, err := redis.String(answers[2*i], nil)
			if err != nil {
				return states, fmt.Errorf("look at keys: %w", err)
			}
			ttl, err := redis.Int64(answers[2*i+1], nil)
			if err != nil {
				return states, fmt.Errorf("look at keys: %w", err)
			}
			k := key{name: name, kind: kind, forever: ttl == -1}
			if kind == "none" {
				k.kind = ""
			}
			states = append(states, k)
		}
	}
	return states, nil
}

// ended prefers the reason why a context ended over what that did to a command.
func ended(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return err
}
