package backfill

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/metaextract/pipeline/internal/pg"
)

const (
	// firstLook and everyLook are parts of the limit: a batch that is done in a quarter of it is not looked at, and a wait
	// is known to a tenth of it.
	firstLook = 4
	everyLook = 10
	// lookTimeout bounds a look; where it is reached, the batch's own time has to do.
	lookTimeout = 5 * time.Second
)

// waitingQuery is who waits for a session and for how long, in seconds. Everybody sees pg_locks, while the waits in
// pg_stat_activity are hidden from users without pg_read_all_stats; since PostgreSQL 14 it also says since when.
// pg_blocking_pids is asked about those alone who wait, for it stops all lock requests for a moment.
const waitingQuery = `WITH waiting AS MATERIALIZED (SELECT l.pid, pg_catalog.max(EXTRACT(epoch FROM pg_catalog.clock_timestamp()
		- (pg_catalog.to_jsonb(l) ->> 'waitstart')::timestamptz)::float8) AS seconds
		FROM pg_catalog.pg_locks l WHERE NOT l.granted AND l.pid NOT IN ($1, pg_catalog.pg_backend_pid()) GROUP BY l.pid)
	SELECT pid, coalesce(seconds, 0) FROM waiting WHERE $1 = ANY (pg_catalog.pg_blocking_pids(pid))`

// watch sees, on a session of its own, who waits for a batch, and gives the batch up where somebody has waited for too long:
// the locks are free at once then, and the next batch is smaller. It is a courtesy: where it cannot connect, the size of
// batches follows from the time they take.
type watch struct {
	url    string
	pid    uint32 // the session that is watched
	worker string // the query by which it is known
	limit  time.Duration

	conn     *pgx.Conn
	blind    bool // the URL leads elsewhere
	canceled bool // the last batch was
}

// connect opens the session when there is something to see, and again when it was lost. A URL may lead to another server
// than before (it can name several hosts): only one that knows the watched session can see it, and may cancel it.
func (w *watch) connect(ctx context.Context) bool {
	if w.blind || w.conn != nil && !w.conn.IsClosed() {
		return !w.blind
	}
	ctx, cancel := context.WithTimeout(ctx, lookTimeout)
	defer cancel()
	conn, err := pg.Connect(ctx, w.url)
	if err != nil {
		return false
	}
	w.conn = conn
	var known bool
	err = conn.QueryRow(ctx, "SELECT $1::int IN ("+w.worker+")", w.pid).Scan(&known)
	w.blind = err == nil && !known
	return known
}

func (w *watch) close(ctx context.Context) {
	if w.conn != nil {
		pg.HangUp(ctx, w.conn)
	}
}

// during looks while a batch runs, and says how long somebody waited for it at most. It returns when nothing that it has
// sent can hit what the session does next.
func (w *watch) during(ctx context.Context, mayCancel bool, batch func() error) (blocked time.Duration, err error) {
	w.canceled = false
	over, looked := make(chan struct{}), make(chan time.Duration)
	go func() { looked <- w.look(ctx, over, mayCancel) }()
	err = batch()
	close(over)
	return <-looked, err
}

// look returns the longest wait it saw.
func (w *watch) look(ctx context.Context, over <-chan struct{}, mayCancel bool) (longest time.Duration) {
	began := time.Now()
	since := map[int32]time.Time{}
	timer := time.NewTimer(max(w.limit/firstLook, time.Millisecond))
	defer timer.Stop()
	for {
		select {
		case <-over:
			return longest
		case <-timer.C:
		}
		timer.Reset(max(w.limit/everyLook, time.Millisecond))
		now := time.Now()
		if !w.connect(ctx) {
			return longest
		}
		waiting, err := w.waiting(ctx)
		if err != nil {
			return longest
		}
		for pid, wait := range waiting {
			if _, known := since[pid]; !known {
				since[pid] = now
			}
			longest = max(longest, min(max(wait, now.Sub(since[pid])), now.Sub(began)))
		}
		if longest > w.limit && mayCancel && !w.canceled {
			w.canceled = w.cancel(ctx)
		}
	}
}

func (w *watch) waiting(ctx context.Context) (map[int32]time.Duration, error) {
	ctx, cancel := context.WithTimeout(ctx, lookTimeout)
	defer cancel()
	rows, err := w.conn.Query(ctx, waitingQuery, w.pid)
	if err != nil {
		return nil, err
	}
	list := map[int32]time.Duration{}
	var pid int32
	var seconds float64
	_, err = pgx.ForEachRow(rows, []any{&pid, &seconds}, func() error {
		list[pid] = time.Duration(seconds * float64(time.Second))
		return nil
	})
	return list, err
}

func (w *watch) cancel(ctx context.Context) (done bool) {
	ctx, cancel := context.WithTimeout(ctx, lookTimeout)
	defer cancel()
	err := w.conn.QueryRow(ctx, "SELECT pg_catalog.pg_cancel_backend($1)", w.pid).Scan(&done)
	return done && err == nil
}
