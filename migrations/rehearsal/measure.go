package rehearsal

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/metaextract/pipeline/internal/pg"
	"github.com/metaextract/pipeline/migrations/backfill"
	"github.com/metaextract/pipeline/migrations/evidence"
	"github.com/metaextract/pipeline/migrations/folder"
	"github.com/metaextract/pipeline/migrations/history"
	"github.com/metaextract/pipeline/migrations/script"
)

// measuring runs migrations statement by statement on a copy, as the migrator would run them, with somebody else reading
// and writing their tables.
type measuring struct {
	options Options
	url     string // of the copy
	conn    *pgx.Conn
	other   *pgx.Conn // sees the locks of statements that leave none behind
	log     *walMeter
	noise   time.Duration
	looks   []span // in which we looked, and nothing was done: a migrator does not look
}

// span is a time during which something ran.
type span struct{ start, end time.Time }

func (s span) length() time.Duration { return s.end.Sub(s.start) }

// measure runs the migrations in order. tables are those that each is known to lock, by version.
func measure(ctx context.Context, o Options, url string, tables map[int64][]string) ([]Migration, []Statement, error) {
	m := &measuring{options: o, url: url}
	defer m.close(ctx)
	var err error
	if m.conn, err = pg.Connect(ctx, url); err != nil {
		return nil, nil, err
	}
	if m.other, err = pg.Connect(ctx, url); err != nil {
		return nil, nil, err
	}
	if m.log, err = openWALMeter(ctx, url); err != nil {
		return nil, nil, err
	}
	var migrations []Migration
	var statements []Statement
	for _, next := range o.Pending {
		mg, list, err := m.migration(ctx, next, tables[next.Version])
		if err != nil {
			return migrations, statements, err
		}
		migrations, statements = append(migrations, mg), append(statements, list...)
	}
	return migrations, statements, nil
}

func (m *measuring) close(ctx context.Context) {
	for _, conn := range []*pgx.Conn{m.conn, m.other} {
		if conn != nil {
			pg.HangUp(ctx, conn)
		}
	}
	if m.log != nil {
		m.log.close(ctx)
	}
}

// migration measures one file.
func (m *measuring) migration(ctx context.Context, next folder.Migration, names []string) (Migration, []Statement, error) {
	mg := Migration{Version: next.Version, Name: next.Name, File: next.File}
	s, err := m.options.Source.Script(next, folder.Up)
	if err != nil {
		return mg, nil, err
	}
	tables, err := probeable(ctx, m.conn, names)
	if err != nil {
		return mg, nil, err
	}
	if len(tables) > mostProbed {
		mg.NotProbed = len(tables) - mostProbed
		tables = tables[:mostProbed]
	}
	p, err := startProbes(ctx, m.url, tables)
	if err != nil {
		return mg, nil, err
	}
	if err := m.quiet(ctx, p); err != nil {
		return mg, nil, err
	}
	list := describe(next, s)
	m.looks = nil
	whole := span{start: time.Now()}
	err = m.run(ctx, next, s, list)
	whole.end = time.Now()
	p.settle(ctx)
	waits := p.end()
	if err != nil {
		return mg, list, err
	}
	mg.DurationMS = milliseconds(whole.length() - overlap(m.looks, whole))
	for _, t := range tables {
		mg.Probed = append(mg.Probed, t.String())
	}
	reads, on := longest(waits, reading, m.waited(whole.start, time.Now()))
	writes, onWrite := longest(waits, writing, m.waited(whole.start, time.Now()))
	mg.BlockedReadsMS, mg.BlockedWritesMS = m.above(reads), m.above(writes)
	mg.ReadersOf, mg.WritersOf = on, onWrite
	for i := range list {
		st := &list[i]
		reads, _ := longest(waits, reading, st.waited)
		writes, _ := longest(waits, writing, st.waited)
		st.BlockedReadsMS, st.BlockedWritesMS = m.above(reads), m.above(writes)
		mg.WALBytes += st.WALBytes
		mg.DiskBytes = max(mg.DiskBytes, st.DiskBytes)
	}
	mg.NoiseMS = milliseconds(m.noise)
	return mg, list, nil
}

// waited is how long a wait was in vain within a span of time, our looking left out.
func (m *measuring) waited(start, end time.Time) func(wait) time.Duration {
	return func(w wait) time.Duration {
		return w.within(start, end) - overlap(m.looks, span{w.start, w.end})
	}
}

// waited is how much of a wait fell into the statement: while it ran and, where it is the last of a transaction, while that
// committed.
func (s *Statement) waited(w wait) (d time.Duration) {
	for _, sp := range s.spans {
		d += w.within(sp.start, sp.end)
	}
	return d
}

// overlap is how much of a span lies in others, which do not overlap each other.
func overlap(parts []span, whole span) (d time.Duration) {
	for _, p := range parts {
		d += wait{start: p.start, end: p.end}.within(whole.start, whole.end)
	}
	return d
}

// above leaves out what probes wait for when nothing happens: a machine that is busy makes everybody wait.
func (m *measuring) above(d time.Duration) float64 {
	if d <= m.noise {
		return 0
	}
	return milliseconds(d)
}

// quietFor is how long probes run before a migration, to learn how long they wait for nothing.
const quietFor = 50 * time.Millisecond

func (m *measuring) quiet(ctx context.Context, p *probes) error {
	start := time.Now()
	if err := pg.Pause(ctx, quietFor); err != nil {
		p.end()
		return err
	}
	end := time.Now()
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, a := range []action{reading, writing} {
		most, _ := longest(p.waits, a, func(w wait) time.Duration { return w.within(start, end) })
		m.noise = max(m.noise, most)
	}
	return nil
}

// describe lists a file's statements, before they are run.
func describe(next folder.Migration, s *script.Script) []Statement {
	list := make([]Statement, len(s.Statements))
	for i := range s.Statements {
		list[i] = Statement{
			Version: next.Version, Migration: next.Name, File: s.File, Line: s.Line(i), Number: i + 1, SQL: s.SQL(i),
			Locks: []evidence.Lock{}, Rewrites: []string{}, Scans: []Scan{},
		}
	}
	return list
}

// run runs a file in a transaction, or outside of one where it must.
func (m *measuring) run(ctx context.Context, next folder.Migration, s *script.Script, list []Statement) error {
	limits := fmt.Sprintf("SET %%s statement_timeout = %d; SET %%[1]s lock_timeout = %[1]d;", m.options.Timeout.Milliseconds())
	if s.Outside {
		if _, err := m.simple(ctx, fmt.Sprintf(limits, "SESSION")); err != nil {
			return err
		}
		for i := range list {
			if err := m.outside(ctx, next, s, i, &list[i]); err != nil {
				return err
			}
		}
		_, err := m.simple(ctx, "RESET SESSION AUTHORIZATION; RESET ALL")
		return err
	}
	if _, err := m.simple(ctx, "BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE;"+fmt.Sprintf(limits, "LOCAL")); err != nil {
		return err
	}
	before, err := m.look(ctx, true)
	if err != nil {
		return err
	}
	for i := range list {
		st := &list[i]
		start := time.Now()
		_, err := m.simple(ctx, st.SQL)
		st.spans = []span{{start, time.Now()}}
		if err != nil {
			return explain(s, i, err)
		}
		after, err := m.look(ctx, true)
		if err != nil {
			return fmt.Errorf("%s: look after statement %d: %w", s.File, i+1, err)
		}
		if err := st.note(before, after); err != nil {
			return err
		}
		before = after
	}
	start := time.Now()
	if _, err := m.simple(ctx, "COMMIT; RESET SESSION AUTHORIZATION; RESET ALL"); err != nil {
		return explain(s, len(list), err)
	}
	last := &list[len(list)-1]
	last.spans = append(last.spans, span{start, time.Now()})
	return nil
}

// outside runs a statement that commits by itself. Its locks are gone when it is done, so another session looks meanwhile.
func (m *measuring) outside(ctx context.Context, next folder.Migration, s *script.Script, i int, st *Statement) error {
	before, err := m.look(ctx, false)
	if err != nil {
		return err
	}
	held := m.watchLocks(ctx)
	start := time.Now()
	if s.Declared.Backfill != nil {
		err = m.batches(ctx, next, s)
	} else {
		_, err = m.simple(ctx, st.SQL)
	}
	st.spans = []span{{start, time.Now()}}
	locks := held()
	if err != nil {
		return explain(s, i, err)
	}
	after, err := m.look(ctx, false)
	if err != nil {
		return fmt.Errorf("%s: look after statement %d: %w", s.File, i+1, err)
	}
	if err := st.note(before, after); err != nil {
		return err
	}
	st.Locks = locks
	return nil
}

func (m *measuring) batches(ctx context.Context, next folder.Migration, s *script.Script) error {
	tables, err := history.Find(ctx, m.conn)
	if err != nil {
		return err
	}
	_, err = backfill.Run(ctx, m.conn, backfill.Options{Schema: tables.Schema, Version: next.Version, Name: next.Name, Script: s, URL: m.url})
	return err
}

// explain puts an error of the server into the file.
func explain(s *script.Script, i int, err error) error {
	var server *pgconn.PgError
	if !errors.As(err, &server) {
		return fmt.Errorf("%s: statement %d: %w", s.File, i+1, err)
	}
	base := 0
	if i < len(s.Statements) {
		base = s.Statements[i].Start
	}
	return s.Explain(server, base, i)
}

func (m *measuring) simple(ctx context.Context, sql string) ([]*pgconn.Result, error) {
	return m.conn.PgConn().Exec(ctx, sql).ReadAll()
}

// moment is what is known of the copy at one time.
type moment struct {
	evidence []*pgconn.Result
	scans    map[string]int64 // rows read by sequential scans, by table
	rows     map[string]int64 // by table, as the planner knows them
	wal      int64
	size     int64 // of the database
}

// Scans of the open transaction are this session's own; those that are committed are everybody's.
const scansQuery = `SELECT pg_catalog.format('%%I.%%I', schemaname, s.relname), s.seq_tup_read, greatest(c.reltuples, 0)::bigint
	FROM pg_catalog.%s s JOIN pg_catalog.pg_class c ON c.oid = s.relid
	WHERE schemaname NOT LIKE 'pg\_%%' AND schemaname <> 'information_schema'`

func (m *measuring) look(ctx context.Context, open bool) (moment, error) {
	now := moment{scans: map[string]int64{}, rows: map[string]int64{}}
	var err error
	start := time.Now()
	defer func() { m.looks = append(m.looks, span{start, time.Now()}) }()
	sql, view := evidence.Query+evidence.LocksQuery, "pg_stat_xact_all_tables"
	if !open {
		view = "pg_stat_all_tables"
		_, _ = m.simple(ctx, "SELECT pg_catalog.pg_stat_force_next_flush()") // PostgreSQL 15 and later; the next statement flushes
	}
	if now.evidence, err = m.simple(ctx, sql); err != nil {
		return now, err
	}
	rows, err := m.conn.Query(ctx, fmt.Sprintf(scansQuery, view))
	if err != nil {
		return now, err
	}
	var name string
	var read, total int64
	if _, err = pgx.ForEachRow(rows, []any{&name, &read, &total}, func() error {
		now.scans[name], now.rows[name] = read, total
		return nil
	}); err != nil {
		return now, err
	}
	if now.wal, err = m.log.read(ctx, m.conn); err != nil {
		return now, err
	}
	err = m.conn.QueryRow(ctx, "SELECT pg_catalog.pg_database_size(pg_catalog.current_database())").Scan(&now.size)
	return now, err
}

// note puts the difference between two moments into a statement.
func (s *Statement) note(before, after moment) error {
	e, err := evidence.Compare(before.evidence, after.evidence)
	if err != nil {
		return err
	}
	was, err := evidence.Compare(before.evidence, before.evidence)
	if err != nil {
		return err
	}
	s.Rewrites = e.Rewrites
	s.Locks = stronger(was.Locks, e.Locks)
	s.WALBytes, s.DiskBytes = after.wal-before.wal, max(after.size-before.size, 0)
	s.DurationMS = milliseconds(s.spans[0].length())
	for _, name := range slices.Sorted(maps.Keys(after.scans)) {
		// A scan may be counted twice (an index rebuilt) or in part (parallel workers), and probes read a row now and then:
		// half of the table tells.
		if read := after.scans[name] - before.scans[name]; read > 0 && 2*read >= after.rows[name] && read >= leastScanned {
			s.Scans = append(s.Scans, Scan{Table: name, Rows: after.rows[name]})
		}
	}
	return nil
}

// leastScanned is the number of rows below which a scan is no scan: a page of them is read in a tenth of a millisecond.
const leastScanned = 100

// stronger are the locks that were not held before, or not as strong.
func stronger(before, after []evidence.Lock) []evidence.Lock {
	list := []evidence.Lock{}
	for _, l := range after {
		i := slices.IndexFunc(before, func(o evidence.Lock) bool { return o.Relation == l.Relation })
		if i < 0 || evidence.Strength(before[i].Mode) < evidence.Strength(l.Mode) {
			list = append(list, l)
		}
	}
	return list
}

// lockWatch is how often the locks of a statement that leaves none behind are looked at.
const lockWatch = 5 * time.Millisecond

// watchLocks looks at the session's locks until it is called to end.
func (m *measuring) watchLocks(ctx context.Context) (end func() []evidence.Lock) {
	ctx, stop := context.WithCancel(ctx)
	seen := map[string]string{}
	done := make(chan struct{})
	pid := m.conn.PgConn().PID()
	go func() {
		defer close(done)
		for {
			rows, err := m.other.Query(context.WithoutCancel(ctx), `SELECT pg_catalog.format('%I.%I', n.nspname, c.relname), l.mode
				FROM pg_catalog.pg_locks l JOIN pg_catalog.pg_class c ON c.oid = l.relation JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
				WHERE l.pid = $1 AND l.locktype = 'relation' AND l.granted AND c.relkind IN ('r', 'p', 'm')
					AND n.nspname NOT LIKE 'pg\_%' AND l.database = (SELECT oid FROM pg_catalog.pg_database WHERE datname = pg_catalog.current_database())`, pid)
			if err != nil {
				return
			}
			var relation, mode string
			_, _ = pgx.ForEachRow(rows, []any{&relation, &mode}, func() error {
				if evidence.Strength(mode) > evidence.Strength(seen[relation]) || seen[relation] == "" {
					seen[relation] = mode
				}
				return nil
			})
			if pg.Pause(ctx, lockWatch) != nil {
				return
			}
		}
	}()
	return func() []evidence.Lock {
		stop()
		<-done
		list := []evidence.Lock{}
		for _, relation := range slices.Sorted(maps.Keys(seen)) {
			if !slices.Contains(history.Names, relation[lastDot(relation)+1:]) {
				list = append(list, evidence.Lock{Relation: relation, Mode: seen[relation]})
			}
		}
		return list
	}
}

func lastDot(name string) int {
	for i := len(name) - 1; i >= 0; i-- {
		if name[i] == '.' {
			return i
		}
	}
	return -1
}

func milliseconds(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }
