package rehearsal

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/metaextract/pipeline/internal/pg"
)

const (
	// probeEvery is the pause between two questions of a probe: waits are known to that.
	probeEvery = 2 * time.Millisecond
	// mostProbed bounds the tables that are probed at the same time: each costs two sessions.
	mostProbed = 8
	// noticeable is the shortest wait that is kept. A question takes a tenth of a millisecond.
	noticeable = time.Millisecond
)

// mark is in every statement of a probe, so that what they write can be told from what the migration does.
const mark = "/* pipeline probe */"

// action is what a probe tries to do, as an application would.
type action string

const (
	reading action = "read"
	writing action = "write"
)

// wait is how long one question of a probe took.
type wait struct {
	table      string
	action     action
	start, end time.Time
}

// within is how much of the wait falls into a span of time.
func (w wait) within(start, end time.Time) time.Duration {
	if w.start.After(start) {
		start = w.start
	}
	if w.end.Before(end) {
		end = w.end
	}
	return max(end.Sub(start), 0)
}

// probes read and write tables again and again, one row each, and remember how long that took: the milliseconds that users
// of the table would have waited. Writers roll back, and fire no triggers where the session may say so.
type probes struct {
	stop  context.CancelFunc
	group sync.WaitGroup

	mu      sync.Mutex
	waits   []wait
	asked   int // questions that were answered
	pending map[*prober]time.Time
	errs    []error
}

// prober is one session of the probes.
type prober struct {
	of     *probes
	table  table
	action action
	conn   *pgx.Conn
	query  string
}

// table is one that can be probed.
type table struct {
	oid          uint32
	schema, name string
	column       string // one that may be set; "" where there is none, as in a view
	partitioned  bool
}

func (t table) String() string { return t.schema + "." + t.name }

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
			if a == writing && t.column == "" {
				continue
			}
			conn, err := pg.ConnectAs(ctx, url, "pipeline-probe")
			if err != nil {
				return fail(err)
			}
			one := &prober{of: p, table: t, action: a, conn: conn}
			all = append(all, one)
			if err := one.prepare(ctx); err != nil {
				return fail(fmt.Errorf("probe %s: %w", t, err))
			}
		}
	}
	for _, one := range all {
		p.group.Go(func() { one.run(running) })
	}
	return p, nil
}

// prepare finds a row to write, and says that triggers and rules of the application are not for the probe.
func (p *prober) prepare(ctx context.Context) error {
	name := pg.Name(p.table.schema, p.table.name)
	if p.action == reading {
		p.query = "SELECT " + mark + " 1 FROM " + name + " LIMIT 1"
		return nil
	}
	_, _ = p.conn.Exec(ctx, "SET session_replication_role = replica") // a superuser's; without it triggers fire, and are rolled back
	row := "false"
	if !p.table.partitioned {
		var ctid string
		switch err := p.conn.QueryRow(ctx, "SELECT "+mark+" ctid::text FROM ONLY "+name+" LIMIT 1").Scan(&ctid); {
		case err == nil:
			row = "ctid = '" + ctid + "'"
		case !errors.Is(err, pgx.ErrNoRows):
			return err
		}
	}
	column := pg.Name(p.table.column)
	p.query = fmt.Sprintf("UPDATE %s %s SET %s = %s WHERE %s", mark, name, column, column, row)
	return nil
}

func (p *prober) run(ctx context.Context) {
	defer pg.HangUp(ctx, p.conn)
	for ctx.Err() == nil {
		p.of.begin(p)
		// In one round trip; what a failure leaves open is closed by the next.
		_, err := p.conn.PgConn().Exec(ctx, "BEGIN;"+p.query+";ROLLBACK").ReadAll()
		p.of.answered(ctx, p, err)
		if err != nil && ctx.Err() == nil {
			if p.conn.IsClosed() {
				return
			}
			_, _ = p.conn.PgConn().Exec(ctx, "ROLLBACK").ReadAll()
		}
		if pg.Pause(ctx, probeEvery) != nil {
			return
		}
	}
}

func (p *probes) begin(one *prober) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.pending[one] = time.Now()
}

func (p *probes) answered(ctx context.Context, one *prober, err error) {
	now := time.Now()
	p.mu.Lock()
	defer p.mu.Unlock()
	start := p.pending[one]
	delete(p.pending, one)
	if ctx.Err() != nil { // the wait was cut short by us
		return
	}
	p.asked++
	if now.Sub(start) >= noticeable {
		p.waits = append(p.waits, wait{one.table.String(), one.action, start, now})
	}
	if err != nil && len(p.errs) < mostProbed { // the table may be gone, or its column: then nobody waits for it
		p.errs = append(p.errs, err)
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

// end stops the probes and returns what they have waited for, the longest first.
func (p *probes) end() []wait {
	p.stop()
	p.group.Wait()
	slices.SortFunc(p.waits, func(a, b wait) int { return cmp.Compare(b.end.Sub(b.start), a.end.Sub(a.start)) })
	return p.waits
}

// longest is the longest that a probe waited, by a measure of it, and for which table.
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

// probeable looks up tables by their names, as evidence gives them, and for each a column that a write may set.
func probeable(ctx context.Context, conn *pgx.Conn, names []string) ([]table, error) {
	rows, err := conn.Query(ctx, `
		SELECT c.oid, n.nspname, c.relname, c.relkind = 'p', coalesce((SELECT a.attname FROM pg_attribute a
			WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped AND a.attgenerated = '' AND a.attidentity = ''
			ORDER BY EXISTS (SELECT FROM pg_index i WHERE i.indrelid = c.oid AND a.attnum = ANY (i.indkey)), a.attnum LIMIT 1), '')
		FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
		WHERE c.relkind IN ('r', 'p') AND format('%I.%I', n.nspname, c.relname) = ANY ($1)`, names)
	if err != nil {
		return nil, fmt.Errorf("look up tables: %w", pg.Ended(ctx, err))
	}
	var list []table
	var t table
	_, err = pgx.ForEachRow(rows, []any{&t.oid, &t.schema, &t.name, &t.partitioned, &t.column}, func() error {
		list = append(list, t)
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("look up tables: %w", pg.Ended(ctx, err))
	}
	return list, nil
}
