package haproxy

import (
	"bufio"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net"
	"os"
	"regexp"
	"slices"
	"strconv"
	"sync"

	"github.com/metaextract/pipeline/deploy/router"
)

// collector is the log server that HAProxy's ring connects to.
type collector struct {
	id       string // another collector numbers its records anew
	size     int
	exclude  []string
	listener net.Listener
	reading  sync.WaitGroup

	mu          sync.Mutex
	routes      map[string]string // one string for each route
	streams     []*stream         // the latest last
	connections map[net.Conn]struct{}
}

// maxStreams bounds the registrations whose records are kept: two slots, and those they replaced, whose last requests end
// late.
const maxStreams = 6

// maxRoutes bounds the names of routes, as in the project's own router.
const maxRoutes = 1024

// maxBatch bounds what is read at once.
const maxBatch = 10_000

func collect(path string, size int, exclude []string) (*collector, error) {
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) { // of a collector that was killed
		return nil, fmt.Errorf("collect HAProxy's records: %w", err)
	}
	listener, err := new(net.ListenConfig).Listen(context.Background(), "unix", path)
	if err != nil {
		return nil, fmt.Errorf("collect HAProxy's records: %w", err)
	}
	if err := os.Chmod(path, 0o600); err != nil {
		return nil, errors.Join(fmt.Errorf("collect HAProxy's records: %w", err), listener.Close())
	}
	listener.(*net.UnixListener).SetUnlinkOnClose(false) // the next collector's socket may be there by then
	c := &collector{
		id: rand.Text(), size: size, exclude: exclude, listener: listener, routes: map[string]string{},
		connections: map[net.Conn]struct{}{},
	}
	c.reading.Go(c.accept)
	return c, nil
}

func (c *collector) accept() {
	for {
		conn, err := c.listener.Accept()
		if err != nil {
			return // closed
		}
		c.mu.Lock()
		c.connections[conn] = struct{}{}
		c.mu.Unlock()
		c.reading.Go(func() {
			lines := bufio.NewScanner(conn)
			lines.Buffer(make([]byte, 64<<10), 2*recordLimit)
			for lines.Scan() {
				c.add(lines.Text())
			}
			conn.Close()
			c.mu.Lock()
			delete(c.connections, conn)
			c.mu.Unlock()
		})
	}
}

func (c *collector) close() error {
	err := c.listener.Close()
	c.mu.Lock()
	for conn := range c.connections {
		conn.Close()
	}
	c.mu.Unlock()
	c.reading.Wait()
	if errors.Is(err, net.ErrClosed) {
		return nil
	}
	return err
}

// add keeps a record. HAProxy says how many it could not keep because nobody read them (sink_announce_dropped in
// src/sink.c), but not whose they were; they count as lost everywhere, as does what cannot be read: a statistic that misses
// some must know.
func (c *collector) add(text string) {
	l, ok, err := parse(text)
	if err != nil {
		n := uint64(1)
		if fields := dropped.FindStringSubmatch(text); fields != nil {
			n, _ = strconv.ParseUint(fields[1], 10, 32)
		}
		c.mu.Lock()
		defer c.mu.Unlock()
		for _, s := range c.streams {
			s.lose(n)
		}
		return
	}
	if !ok {
		return
	}
	s := c.of(l.stream)
	if slices.Contains(c.exclude, l.path) {
		s.excluded()
		return
	}
	l.Route = c.route(l.method, l.path)
	s.add(l)
}

var dropped = regexp.MustCompile(`^([0-9]+) events? dropped$`)

func (c *collector) route(method, path string) string {
	name := router.RouteName(method, path)
	c.mu.Lock()
	defer c.mu.Unlock()
	if known, ok := c.routes[name]; ok {
		return known
	}
	if len(c.routes) >= maxRoutes {
		name = method + " other"
	}
	c.routes[name] = name
	return name
}

// of is the stream of a registration.
func (c *collector) of(name string) *stream {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, s := range c.streams {
		if s.name == name {
			return s
		}
	}
	s := &stream{name: name, id: name + "-" + c.id, size: c.size}
	c.streams = append(c.streams, s)
	if len(c.streams) > maxStreams {
		c.streams = c.streams[1:]
	}
	return s
}

// stream is the last records of a registration. Adding never waits for a reader.
type stream struct {
	name, id string
	size     int

	mu     sync.Mutex
	ring   []router.Record
	last   uint64        // sequence number of the newest
	more   chan struct{} // closed at the next add; nil while nobody waits
	counts router.SlotStatus
	gaps   []gap
}

// gap is records that never came, between two that did.
type gap struct{ after, lost uint64 }

// maxGaps bounds how many gaps are told apart.
const maxGaps = 64

func (s *stream) lose(n uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if last := len(s.gaps) - 1; last >= 0 && (s.gaps[last].after == s.last || len(s.gaps) == maxGaps) {
		s.gaps[last] = gap{s.last, s.gaps[last].lost + n}
		return
	}
	s.gaps = append(s.gaps, gap{s.last, n})
}

func (s *stream) excluded() {
	s.mu.Lock()
	s.counts.Excluded++
	s.mu.Unlock()
}

func (s *stream) add(l line) {
	s.mu.Lock()
	defer s.mu.Unlock()
	l.Sequence = s.last + 1
	if len(s.ring) < s.size {
		s.ring = append(s.ring, l.Record)
	} else {
		s.ring[int(s.last%uint64(s.size))] = l.Record
	}
	s.last++
	s.count(l)
	if s.more != nil {
		close(s.more)
		s.more = nil
	}
}

func (s *stream) count(l line) {
	s.counts.Requests++
	if l.By != router.ByChance {
		s.counts.ByRule++
	}
	switch l.outcome {
	case answered:
		if l.Status >= 500 {
			s.counts.AppErrors++
		}
	case badGateway:
		s.counts.Gateway++
	case gatewayTimeout:
		s.counts.Timeouts++
	case truncated:
		s.counts.Truncated++
	case aborted:
		s.counts.Aborted++
	case refused:
		s.counts.Refused++
	}
}

// latest is how many of the last records percentiles are taken from, as in the project's own router.
const latest = 4096

// status is what was counted and the percentiles of the last answers.
func (s *stream) status() router.SlotStatus {
	s.mu.Lock()
	defer s.mu.Unlock()
	status := s.counts
	var latencies []int64
	for back := range min(len(s.ring), latest) {
		r := &s.ring[int((s.last-1-uint64(back))%uint64(s.size))]
		if (r.Class == router.OK || r.Class == router.AppError) && !r.Streamed {
			latencies = append(latencies, r.End)
		}
	}
	slices.Sort(latencies)
	for _, q := range []struct {
		into *float64
		at   float64
	}{{&status.P50, .50}, {&status.P95, .95}, {&status.P99, .99}} {
		if len(latencies) > 0 {
			*q.into = float64(latencies[int(q.at*float64(len(latencies)-1))]) / 1000
		}
	}
	return status
}

// read returns what follows a cursor and waits for it where there is nothing yet.
func (s *stream) read(ctx context.Context, from router.Cursor, limit int) router.Batch {
	if limit <= 0 || limit > maxBatch {
		limit = maxBatch
	}
	for {
		batch, more := s.after(from, limit)
		if len(batch.Records) > 0 || batch.Lost > 0 {
			return batch
		}
		select {
		case <-more:
		case <-ctx.Done():
			return batch
		}
	}
}

func (s *stream) after(from router.Cursor, limit int) (batch router.Batch, more <-chan struct{}) {
	s.mu.Lock()
	defer s.mu.Unlock()
	batch.Records = []router.Record{}
	after := from.After
	if from.Stream != s.id {
		batch.Restart = from.Stream != ""
		after = 0
	}
	after = min(after, s.last)
	first := after
	if oldest := s.last - uint64(len(s.ring)); after < oldest {
		batch.Lost = oldest - after
		after = oldest
	}
	for ; after < s.last && len(batch.Records) < limit; after++ {
		batch.Records = append(batch.Records, s.ring[int(after%uint64(s.size))])
	}
	batch.Next = router.Cursor{Stream: s.id, After: after}
	for _, g := range s.gaps {
		if first <= g.after && g.after < after {
			batch.Lost += g.lost
		}
	}
	if len(batch.Records) == 0 {
		if s.more == nil {
			s.more = make(chan struct{})
		}
		more = s.more
	}
	return batch, more
}
