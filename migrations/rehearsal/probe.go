package rehearsal

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/jackc/pgerrcode"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/metaextract/pipeline/internal/pg"
	"github.com/metaextract/pipeline/migrations/evidence"
)

const (
	// probeEvery is the pause between two questions of a probe: waits are known to that.
	probeEvery = 2 * time.Millisecond
	// mostProbed bounds the tables that are probed at the same time: each costs two sessions.
	mostProbed = 8
	// noticed is after how long PostgreSQL tells a probe that it waits for a lock: no shorter wait is counted. A question takes
	// a tenth of a millisecond.
	noticed = 2 * time.Millisecond
	// mostRows is how many rows of a table writers try, in turn.
	mostRows = 32
)

// mark is in every statement of a probe, so that what they write can be told from what the migration does.
const mark = "/* pipeline probe */"

// action is what a probe tries to do, as an application would.
type action string

const (
	reading action = "read"
	writing action = "write"
)

// wait is for how long somebody was kept out of a table.
type wait struct {
	table  string
	action action
	span
}

// probes read and write tables again and again, one row each, and remember how long they did not get the lock for it: the
// milliseconds that users of the table would have waited. It is PostgreSQL that says that a probe waits for a lock, by
// lock_timeout, after which the probe asks again: on a busy machine everybody waits now and then, for no lock. Nothing that
// a probe does leaves a row version behind, so that what is measured later is what it would have been.
type probes struct {
	stop  context.CancelFunc
	group sync.WaitGroup

	mu      sync.Mutex
	waits   []wait
	noise   time.Duration         // the longest that an answer took which waited for no lock
	pending map[*prober]time.Time // since when the probe has been asking
}

// prober is one session of the probes.
type prober struct {
	of     *probes
	table  table
	action action
	conn   *pgx.Conn
	rows   []string // places in the table's file, of rows that a writer locks in turn
	next   int
	missed int // of the last questions: how many found no row at their place
}

// table is one that can be probed.
type table struct {
	oid          uint32
	schema, name string
	kind         string // as pg_class has it
	sql          string // the name as evidence has it
	bytes        int64
}

func (t table) String() string { return t.schema + "." + t.name }

// stored says whether it has rows of its own.
func (t table) stored() bool { return t.kind == "r" || t.kind == "m" }

// startProbes opens the sessions before it begins, so that nothing is measured of that.
func startProbes(ctx context.Context, url string, tables []table) (*probes, error) {
	running, stop := context.WithCancel(ctx)
	p := &probes{stop: stop, pending: map[*prober]time.Time{}}
	var all []*prober
	fail := func(err error) (*probes, error) {
		stop()
		for _, one := range all {
			pg.HangUp(ctx, one.conn)
		}
		return nil, err
	}
	for _, t := range tables {
		for _, a := range []action{reading, writing} {
			if a == writing && t.kind != "r" && t.kind != "p" {
				continue
			}
			conn, err := pg.ConnectAs(ctx, url, "pipeline-probe")
			if err != nil {
				return fail(err)
			}
			one := &prober{of: p, table: t, action: a, conn: conn}
			all = append(all, one)
			if _, err := conn.Exec(ctx, fmt.Sprintf("SET lock_timeout = %d", noticed.Milliseconds())); err != nil {
				return fail(fmt.Errorf("probe %s: %w", t, pg.Ended(ctx, err)))
			}
			if err := one.sample(ctx); err != nil {
				return fail(fmt.Errorf("probe %s: %w", t, pg.Ended(ctx, err)))
			}
		}
	}
	for _, one := range all {
		p.group.Go(func() { one.run(running) })
	}
	return p, nil
}

// sample finds rows for a writer, from all over the table: a migration may change some and leave others.
func (p *prober) sample(ctx context.Context) error {
	if p.action == reading || !p.table.stored() {
		return nil
	}
	name := pg.Name(p.table.schema, p.table.name)
	rows, err := p.conn.Query(ctx, fmt.Sprintf(`SELECT %s min(ctid)::text FROM ONLY %s TABLESAMPLE SYSTEM
			(least(100, 100.0 * %d / greatest(pg_catalog.pg_relation_size(%d) / pg_catalog.current_setting('block_size')::int, 1))) REPEATABLE (1)
		GROUP BY (ctid::text::point)[0] ORDER BY min(ctid) LIMIT %[3]d`, mark, name, mostRows, p.table.oid), pgx.QueryExecModeExec)
	if err != nil {
		return err
	}
	found, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err == nil {
		p.rows, p.next, p.missed = found, 0, 0
	}
	return err
}

// question is what the probe sends. A reader looks at one place of the file: what comes first of the rows may lie behind
// a million that are deleted. A writer takes the lock on the table that UPDATE takes, and that on a row.
func (p *prober) question() string {
	name := pg.Name(p.table.schema, p.table.name)
	switch {
	case p.action == reading && p.table.stored():
		return "SELECT " + mark + " 1 FROM ONLY " + name + " WHERE ctid = '(0,1)'"
	case p.action == reading:
		return "SELECT " + mark + " 1 FROM " + name + " WHERE false"
	}
	sql := "LOCK TABLE ONLY " + name + " IN ROW EXCLUSIVE MODE" // utility commands have no text that could be marked, and write nothing
	if len(p.rows) > 0 {
		sql += "; SELECT " + mark + " 1 FROM ONLY " + name + " WHERE ctid = '" + p.rows[p.next%len(p.rows)] + "' FOR NO KEY UPDATE"
		p.next++
	}
	return sql
}

func (p *prober) run(ctx context.Context) {
	defer pg.HangUp(ctx, p.conn)
	asking := false
	for ctx.Err() == nil {
		if !asking {
			p.of.begin(p)
		}
		start := time.Now()
		waits, err := p.ask(ctx)
		if p.conn.IsClosed() {
			return
		}
		if asking = waits; asking {
			continue // it has been waiting until it gets an answer
		}
		p.of.answered(ctx, p, start)
		if err == nil && len(p.rows) > 0 && p.missed >= len(p.rows) { // the migration has moved the rows, and others may be locked by what comes next
			_ = p.sample(ctx) // where that has to wait, the next question has to as well
		}
		if pg.Pause(ctx, probeEvery) != nil {
			return
		}
	}
}

// ask sends a question in one round trip, and says whether it waited for a lock in vain.
func (p *prober) ask(ctx context.Context) (waits bool, err error) {
	results, err := p.conn.PgConn().Exec(ctx, "BEGIN;"+p.question()+";ROLLBACK").ReadAll()
	if err != nil {
		if p.conn.IsClosed() {
			return false, err
		}
		_, _ = p.conn.PgConn().Exec(ctx, "ROLLBACK").ReadAll()
		var server *pgconn.PgError
		return errors.As(err, &server) && server.Code == pgerrcode.LockNotAvailable, err
	}
	if len(p.rows) > 0 && len(results) > 2 && len(results[2].Rows) == 0 {
		p.missed++
	} else {
		p.missed = 0
	}
	return false, nil
}

func (p *probes) begin(one *prober) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.pending[one] = time.Now()
}

// answered notes an answer to a question that was last sent at a time. Where it was sent before, it has waited. The answer
// may be an error: the table may be gone, or its column; then nobody waits for it.
func (p *probes) answered(ctx context.Context, one *prober, sent time.Time) {
	now := time.Now()
	p.mu.Lock()
	defer p.mu.Unlock()
	start := p.pending[one]
	delete(p.pending, one)
	switch {
	case ctx.Err() != nil: // the wait was cut short by us
	case sent.Sub(start) >= noticed:
		p.waits = append(p.waits, wait{one.table.String(), one.action, span{start, now}})
	default:
		p.noise = max(p.noise, now.Sub(sent))
	}
}

// settle waits until every probe has been answered once more, or for as long as that is worth: what was waiting when the
// migration ended has then been counted.
func (p *probes) settle(ctx context.Context) {
	begun := time.Now()
	for {
		p.mu.Lock()
		waiting := false
		for _, start := range p.pending {
			waiting = waiting || start.Before(begun)
		}
		p.mu.Unlock()
		if !waiting || time.Since(begun) > time.Minute || pg.Pause(ctx, probeEvery) != nil {
			return
		}
	}
}

// end stops the probes and returns what they have waited for.
func (p *probes) end() []wait {
	p.stop()
	p.group.Wait()
	return p.waits
}

// longest is the longest that somebody waited, by a measure of it, and for which table.
func longest(waits []wait, a action, measure func(wait) time.Duration) (most time.Duration, table string) {
	for _, w := range waits {
		if w.action != a {
			continue
		}
		if d := measure(w); d > most {
			most, table = d, w.table
		}
	}
	return most, table
}

// probeable looks up the tables and views that are locked, those with the strongest locks and the most bytes first. The weakest
// lock keeps nobody out who reads or writes.
func probeable(ctx context.Context, conn *pgx.Conn, locked []evidence.Lock) ([]table, error) {
	modes := map[string]int{}
	var names []string
	for _, l := range locked {
		if evidence.Strength(l.Mode) > evidence.Strength("AccessShareLock") {
			names = append(names, l.Relation)
		}
		modes[l.Relation] = max(modes[l.Relation], evidence.Strength(l.Mode))
	}
	rows, err := conn.Query(ctx, `SELECT c.oid, n.nspname, c.relname, c.relkind::text, format('%I.%I', n.nspname, c.relname),
			CASE WHEN c.relkind IN ('r', 'm') THEN coalesce(pg_relation_size(c.oid), 0) ELSE 0 END
		FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
		WHERE c.relkind IN ('r', 'p', 'm', 'v', 'f') AND format('%I.%I', n.nspname, c.relname) = ANY ($1)`, names)
	if err != nil {
		return nil, fmt.Errorf("look up tables: %w", pg.Ended(ctx, err))
	}
	var tables []table
	var t table
	_, err = pgx.ForEachRow(rows, []any{&t.oid, &t.schema, &t.name, &t.kind, &t.sql, &t.bytes}, func() error {
		tables = append(tables, t)
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("look up tables: %w", pg.Ended(ctx, err))
	}
	slices.SortFunc(tables, func(a, b table) int {
		return cmp.Or(cmp.Compare(modes[b.sql], modes[a.sql]), cmp.Compare(b.bytes, a.bytes), cmp.Compare(a.sql, b.sql))
	})
	return tables, nil
}
