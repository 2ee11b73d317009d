package migrations

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/metaextract/pipeline/internal/pg"
	"github.com/metaextract/pipeline/migrations/script"
)

// session is somebody else's, as it was seen. A session that has begun another transaction is another one.
type session struct {
	PID   int32
	Since *time.Time // when its transaction began; nil where the user may not see it
	Who   string
}

// described is how a session is shown: who, in what state, for how long. Its statement is not, for it holds values.
const described = `format('pid %s (%s, user %s, %s, open for %s)', a.pid, coalesce(nullif(a.application_name, ''), 'unnamed'),
	coalesce(a.usename, 'unknown'), coalesce(a.state, 'unknown state'), justify_interval(date_trunc('second', clock_timestamp() - a.xact_start)))`

// watch sees who keeps locks from a migration. While an attempt waits, a session of its own asks PostgreSQL who is in the
// way (pg_blocking_pids), and before the next attempt the transactions of those are waited for: each attempt in vain makes
// everybody else queue behind it for the length of lock_timeout, so none is made that is known to be in vain.
type watch struct {
	driver *driver

	mu    sync.Mutex
	conn  *pgx.Conn // of the watch alone; opened when there is something to see
	found []session // who was in the way of the last attempt
	all   []string  // … and of any
}

// before waits for those who were in the way of the attempt before, as far as the budget goes, and tells who has been at
// the script's tables for longer than a lock is waited for.
func (w *watch) before(s *script.Script, attempt int, left time.Duration) error {
	d := w.driver
	if attempt == 1 {
		for _, who := range d.longTransactions(s) {
			w.note(session{Who: who})
			d.options.Notice(s.File + ": may have to wait for " + who)
		}
		return nil
	}
	end := d.retry.now().Add(left)
	for told := false; len(w.found) > 0 && d.retry.now().Before(end); told = true {
		remaining, err := w.remaining()
		if err != nil {
			return fmt.Errorf("%s: look for blocking sessions: %w", s.File, pg.Ended(d.ctx, err))
		}
		if remaining == "" {
			break
		}
		if !told {
			d.options.Notice(s.File + ": waiting for " + remaining)
		}
		if err := d.retry.pause(d.ctx, lockPoll); err != nil {
			return fmt.Errorf("%s: %w", s.File, err)
		}
	}
	w.found = nil
	return nil
}

// remaining are those of the sessions found whose transactions are still open, described.
func (w *watch) remaining() (string, error) {
	var pids []int32
	var since []time.Time
	for _, s := range w.found {
		pids, since = append(pids, s.PID), append(since, *s.Since)
	}
	var who string
	err := w.driver.conn.QueryRow(w.driver.ctx, `SELECT coalesce(string_agg(`+described+`, '; '), '')
		FROM pg_stat_activity a JOIN unnest($1::int[], $2::timestamptz[]) AS f (pid, since) ON a.pid = f.pid AND a.xact_start = f.since`,
		pids, since).Scan(&who)
	return who, err
}

// during looks while an attempt runs.
func (w *watch) during(attempt func() error) error {
	ctx, cancel := context.WithCancel(w.driver.ctx)
	watched := make(chan struct{})
	go func() {
		defer close(watched)
		w.look(ctx, w.driver.conn.PgConn().PID())
	}()
	err := attempt()
	cancel()
	<-watched
	return err
}

// look asks again and again who is in the way of a session, from when it has been at work for half of the time that it
// waits for a lock. It tells nothing where it cannot connect: it is only a courtesy.
func (w *watch) look(ctx context.Context, pid uint32) {
	every := max(w.driver.options.LockTimeout/5, time.Millisecond)
	if pg.Pause(ctx, w.driver.options.LockTimeout/2) != nil {
		return
	}
	if w.conn == nil {
		conn, err := pg.Connect(ctx, w.driver.options.URL)
		if err != nil {
			return
		}
		w.conn = conn
	}
	for {
		rows, err := w.conn.Query(ctx, `SELECT a.pid, a.xact_start, `+described+` FROM pg_stat_activity a
			WHERE a.pid = ANY (pg_blocking_pids($1))`, pid)
		if err != nil {
			return
		}
		seen, err := pgx.CollectRows(rows, pgx.RowToStructByPos[session])
		if err != nil {
			return
		}
		for _, s := range seen {
			w.note(s)
		}
		if pg.Pause(ctx, every) != nil {
			return
		}
	}
}

func (w *watch) note(s session) {
	w.mu.Lock()
	defer w.mu.Unlock()
	same := func(o session) bool { return o.PID == s.PID && o.Since.Equal(*s.Since) }
	if s.Since != nil && !slices.ContainsFunc(w.found, same) {
		w.found = append(w.found, s)
	}
	if who, _, _ := strings.Cut(s.Who, ", open for"); !slices.ContainsFunc(w.all, func(o string) bool { return strings.HasPrefix(o, who) }) {
		w.all = append(w.all, s.Who)
	}
}

// seen are all that were in the way, described.
func (w *watch) seen() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Clone(w.all)
}

func (w *watch) close() {
	if w.conn != nil {
		pg.HangUp(w.driver.ctx, w.conn)
	}
}

// longTransactions are the sessions that have held locks on the tables the script names for longer than it would wait for
// one.
func (d *driver) longTransactions(s *script.Script) []string {
	var names []string
	for _, st := range s.Statements {
		names = append(names, st.Names()...)
	}
	if len(names) == 0 {
		return nil
	}
	rows, err := d.conn.Query(d.ctx, `SELECT DISTINCT `+described+` FROM pg_stat_activity a
		JOIN pg_locks l ON l.pid = a.pid AND l.granted AND l.locktype = 'relation' AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())
		JOIN pg_class c ON c.oid = l.relation
		WHERE a.datname = current_database() AND a.pid <> pg_backend_pid() AND a.xact_start < clock_timestamp() - $2::interval
			AND c.relname = ANY ($1) AND c.relkind IN ('r', 'p', 'm', 'f') AND c.relnamespace <> 'pg_catalog'::regnamespace LIMIT 5`,
		names, d.options.LockTimeout)
	if err != nil {
		return nil // it is only a courtesy; what is wrong shows when the migration runs
	}
	who, _ := pgx.CollectRows(rows, pgx.RowTo[string])
	return who
}

// bystanders names the sessions that most likely kept a lock from us: those with the oldest open transactions that hold
// locks on tables.
func bystanders(ctx context.Context, conn *pgx.Conn) []string {
	if conn.IsClosed() {
		return nil
	}
	rows, err := conn.Query(ctx, `SELECT `+described+` FROM pg_stat_activity a
		WHERE a.datname = current_database() AND a.pid <> pg_backend_pid() AND a.xact_start IS NOT NULL
			AND EXISTS (SELECT FROM pg_locks l JOIN pg_class c ON c.oid = l.relation
				WHERE l.pid = a.pid AND l.granted AND l.locktype = 'relation' AND c.relkind IN ('r', 'p', 'm')
					AND c.relnamespace <> 'pg_catalog'::regnamespace)
		ORDER BY a.xact_start LIMIT 3`)
	if err != nil {
		return nil
	}
	who, _ := pgx.CollectRows(rows, pgx.RowTo[string])
	return who
}

func joined(who []string) string { return strings.Join(who, "; ") }
