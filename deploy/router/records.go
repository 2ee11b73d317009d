package router

import (
	"context"
	"crypto/rand"
	"fmt"
	"sync"
	"time"

	"github.com/metaextract/pipeline/deploy"
)

// Class is whose doing the end of a request was.
type Class string

// The classes.
const (
	OK          Class = "ok"           // answered by the application, below 500
	AppError    Class = "app_error"    // answered with 5xx, or broken off by the application within the answer
	RouterMade  Class = "router_made"  // the router answered 502 or 504 for an application that did not
	ClientAbort Class = "client_abort" // the client went away, or sent what the router refuses (408, 413)
)

var classes = [...]Class{OK, AppError, RouterMade, ClientAbort}

// Record is one request that ended: what a canary's statistics are made of. Requests that Options.Exclude names have none.
type Record struct {
	Sequence uint64    `json:"seq"` // from 1, without gaps within a stream
	Time     time.Time `json:"time"`
	// Cohort is a hash of who asked, with the salt of the split; empty where the client is not known, as when nothing is
	// split. The same client has the same hash for as long as a deployment draws its cohorts.
	Cohort string `json:"cohort,omitempty"`
	Route  string `json:"route"` // method and path with ids taken out: "GET /items/:id"
	Status int    `json:"status"`
	Class  Class  `json:"class"`
	// FirstByte and End are microseconds from the request's header to the answer's, and to the answer's end. Of a WebSocket
	// or a stream of events, which Streamed marks, End is no latency.
	FirstByte int64  `json:"first_us"`
	End       int64  `json:"end_us"`
	Streamed  bool   `json:"streamed,omitempty"`
	Weight    int    `json:"weight"` // of the slot when the request came, percent
	By        By     `json:"by"`
	Rule      string `json:"rule,omitempty"`
	Variant   string `json:"variant,omitempty"` // experiment=variant
}

// Cursor is how far a reader has read. The zero value is the beginning.
type Cursor struct {
	Stream string `json:"stream"` // which instance, in which router; another one begins anew
	After  uint64 `json:"after"`  // sequence number of the last record read
}

// Batch is what Records returns.
type Batch struct {
	Next Cursor `json:"next"` // give it back for what follows
	// Lost is how many records were overwritten before they were read. A statistic that misses some must know.
	Lost    uint64   `json:"lost,omitempty"`
	Restart bool     `json:"restart,omitempty"` // the cursor was of another stream: these begin a new one
	Records []Record `json:"records"`
}

// DefaultRecords is how many records a slot keeps: 11 minutes at 100 requests a second, in some 4 MB.
const DefaultRecords = 1 << 16

// maxBatch bounds what Records returns at once.
const maxBatch = 10_000

// sample is a Record in little space.
type sample struct {
	at       int64 // Unix nanoseconds
	cohort   uint64
	first    uint32 // microseconds, at most 71 minutes
	end      uint32
	route    *string
	choice   *labels
	status   uint16
	class    uint8 // index into classes
	weight   uint8
	by       By
	streamed bool
	full     bool // answered by the application in full: a latency
}

// labels is what a rule and a variant are called.
type labels struct{ rule, variant string }

// records is the last requests of a slot. Adding never waits for a reader.
type records struct {
	mu     sync.Mutex
	stream string
	size   int
	ring   []sample
	last   uint64        // sequence number of the newest
	more   chan struct{} // closed at the next add; nil while nobody waits
}

func (r *records) init(size int) { r.stream, r.size = rand.Text(), size }

func (r *records) add(s sample) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.ring) < r.size {
		r.ring = append(r.ring, s)
	} else {
		r.ring[int(r.last%uint64(r.size))] = s
	}
	r.last++
	if r.more != nil {
		close(r.more)
		r.more = nil
	}
}

// read returns what follows a cursor, and a channel to wait on where nothing does.
func (r *records) read(from Cursor, limit int) (batch Batch, more <-chan struct{}) {
	r.mu.Lock()
	defer r.mu.Unlock()
	batch.Records = []Record{}
	after := from.After
	if from.Stream != r.stream {
		batch.Restart = from.Stream != ""
		after = 0
	}
	after = min(after, r.last)
	oldest := r.last - uint64(len(r.ring))
	if after < oldest {
		batch.Lost = oldest - after
		after = oldest
	}
	for ; after < r.last && len(batch.Records) < limit; after++ {
		batch.Records = append(batch.Records, r.ring[int(after%uint64(r.size))].record(after+1))
	}
	batch.Next = Cursor{Stream: r.stream, After: after}
	if len(batch.Records) == 0 {
		if r.more == nil {
			r.more = make(chan struct{})
		}
		more = r.more
	}
	return batch, more
}

func (s *sample) record(sequence uint64) Record {
	record := Record{
		Sequence: sequence, Time: time.Unix(0, s.at).UTC(), Route: *s.route, Status: int(s.status), Class: classes[s.class],
		FirstByte: int64(s.first), End: int64(s.end), Streamed: s.streamed, Weight: int(s.weight), By: s.by,
	}
	if s.cohort != 0 {
		record.Cohort = fmt.Sprintf("%016x", s.cohort)
	}
	if s.choice != nil {
		record.Rule, record.Variant = s.choice.rule, s.choice.variant
	}
	return record
}

// latest is the last latencies, at most n, unordered.
func (r *records) latest(n int) []time.Duration {
	r.mu.Lock()
	defer r.mu.Unlock()
	var latencies []time.Duration
	for back := range min(len(r.ring), n) {
		if s := &r.ring[int((r.last-1-uint64(back))%uint64(r.size))]; s.full {
			latencies = append(latencies, time.Duration(s.end)*time.Microsecond)
		}
	}
	return latencies
}

// Records returns the requests that ended on a slot after a cursor, in order, at most limit of them (0: as many as it may).
// Where there are none yet, it waits until there is one or ctx ends, which is no error. Several readers do not disturb
// each other, and one that was killed goes on with its last cursor.
func (r *Router) Records(ctx context.Context, name deploy.Slot, from Cursor, limit int) (Batch, error) {
	if limit <= 0 || limit > maxBatch {
		limit = maxBatch
	}
	for {
		e, ok := r.current().find(name)
		if !ok {
			return Batch{}, unknown(name)
		}
		batch, more := e.slot.records.read(from, limit)
		if len(batch.Records) > 0 || batch.Lost > 0 {
			return batch, nil
		}
		select {
		case <-more:
		case <-ctx.Done():
			return batch, nil
		}
	}
}
