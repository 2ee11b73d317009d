package rehearsal

import (
	"context"
	"errors"
	"fmt"
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
	looks   []span // in which we looked, and nothing was done: a migrator does not look

	probed []table
	locks  []lockHeld // of the migration
}

// span is a time during which something ran.
type span struct{ start, end time.Time }

func (s span) length() time.Duration { return max(s.end.Sub(s.start), 0) }

// during is the part of it that lies in another one.
func (s span) during(other span) span {
	if s.start.Before(other.start) {
		s.start = other.start
	}
	if s.end.After(other.end) {
		s.end = other.end
	}
	return s
}

// measure runs the migrations in order. beside is another database of the server, which is not looked at any more; locks are
// those that each is known to take, by version.
func measure(ctx context.Context, o Options, url, beside string, locks map[int64][]evidence.Lock) ([]Migration, []Statement, error) {
	m := &measuring{options: o, url: url}
	defer m.close(ctx)
	migrations, statements := []Migration{}, []Statement{}
	var err error
	if m.conn, err = pg.Connect(ctx, url); err != nil {
		return migrations, statements, err
	}
	if m.other, err = pg.Connect(ctx, url); err != nil {
		return migrations, statements, err
	}
	if m.log, err = openWALMeter(ctx, url, beside); err != nil {
		return migrations, statements, err
	}
	for _, next := range o.Pending {
		mg, list, err := m.migration(ctx, next, locks[next.Version])
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
func (m *measuring) migration(ctx context.Context, next folder.Migration, locks []evidence.Lock) (Migration, []Statement, error) {
	mg := Migration{Version: next.Version, Name: next.Name, File: next.File, Probed: []string{}}
	s, err := m.options.Source.Script(next, folder.Up)
	if err != nil {
		return mg, nil, err
	}
	if m.probed, err = probeable(ctx, m.conn, locks); err != nil {
		return mg, nil, err
	}
	if len(m.probed) > mostProbed {
		mg.NotProbed = len(m.probed) - mostProbed
		m.probed = m.probed[:mostProbed]
	}
	p, err := startProbes(ctx, m.url, m.probed)
	if err != nil {
		return mg, nil, err
	}
	list := describe(next, s)
	m.looks, m.locks = nil, nil
	whole := span{start: time.Now()}
	err = m.run(ctx, next, s, list)
	whole.end = time.Now()
	p.settle(ctx)
	waits := append(p.end(), m.kept()...)
	if err != nil {
		return mg, list, err
	}
	mg.DurationMS = milliseconds(whole.length() - overlap(m.looks, whole))
	for _, t := range m.probed {
		mg.Probed = append(mg.Probed, t.String())
	}
	reads, on := longest(waits, reading, m.waited(whole))
	writes, onWrite := longest(waits, writing, m.waited(whole))
	mg.BlockedReadsMS, mg.BlockedWritesMS = milliseconds(reads), milliseconds(writes)
	mg.ReadersOf, mg.WritersOf = on, onWrite
	for i := range list {
		st := &list[i]
		reads, _ := longest(waits, reading, m.waited(st.spans...))
		writes, _ := longest(waits, writing, m.waited(st.spans...))
		st.BlockedReadsMS, st.BlockedWritesMS = milliseconds(reads), milliseconds(writes)
		mg.WALBytes += st.WALBytes
		mg.DiskBytes = max(mg.DiskBytes, st.DiskBytes)
	}
	mg.NoiseMS = milliseconds(p.noise)
	return mg, list, nil
}

// kept are waits that no probe has met with: for tables that were not probed, or cannot be, and for rows that are changed,
// of which a probe tries some. They follow from how long the locks were held.
func (m *measuring) kept() (waits []wait) {
	for _, l := range m.locks {
		switch {
		case l.Mode == "":
			waits = append(waits, wait{l.Relation, writing, l.span})
		case !slices.ContainsFunc(m.probed, func(t table) bool { return t.sql == l.Relation }):
			waits = append(waits, l.keeps()...)
		}
	}
	return waits
}

// waited is how much of a wait fell into spans of time in which something ran, our looking left out.
func (m *measuring) waited(spans ...span) func(wait) time.Duration {
	return func(w wait) (d time.Duration) {
		for _, s := range spans {
			part := w.during(s)
			d += part.length() - overlap(m.looks, part)
		}
		return d
	}
}

// overlap is how much of a span lies in others, which do not overlap each other.
func overlap(parts []span, whole span) (d time.Duration) {
	for _, p := range parts {
		d += p.during(whole).length()
	}
	return d
}

// describe lists a file's statements, before they are run.
func describe(next folder.Migration, s *script.Script) []Statement {
	list := make([]Statement, len(s.Statements))
	for i := range s.Statements {
		file, line := s.Place(i)
		list[i] = Statement{
			Version: next.Version, Migration: next.Name, File: file, Line: line, Number: i + 1, SQL: s.SQL(i),
			Locks: []evidence.Lock{}, Rewrites: []string{}, Scans: []Scan{}, Changed: []Scan{},
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
	there, err := relations(ctx, m.conn)
	if err != nil {
		return fmt.Errorf("%s: look before: %w", s.File, err)
	}
	before, err := m.look(ctx, there)
	if err != nil {
		return fmt.Errorf("%s: look before: %w", s.File, err)
	}
	for i := range list {
		st := &list[i]
		start := time.Now()
		_, err := m.simple(ctx, st.SQL)
		st.spans = []span{{start, time.Now()}}
		if err != nil {
			return explain(s, i, err)
		}
		after, err := m.look(ctx, there)
		if err != nil {
			return fmt.Errorf("%s: look after statement %d: %w", s.File, i+1, err)
		}
		if err := st.note(before, after); err != nil {
			return err
		}
		st.Locks = stronger(before.locks, after.locks)
		st.under = slices.ContainsFunc(before.locks, func(l evidence.Lock) bool { return evidence.Strength(l.Mode) > evidence.Strength("AccessShareLock") })
		m.holds(st)
		before = after
	}
	start := time.Now()
	if err := m.verify(ctx, next, s); err != nil {
		return err
	}
	if _, err := m.simple(ctx, "COMMIT; RESET SESSION AUTHORIZATION; RESET ALL"); err != nil {
		return explain(s, len(list), err)
	}
	end := time.Now()
	for i := range m.locks {
		m.locks[i].end = end
	}
	if len(list) > 0 {
		last := &list[len(list)-1]
		last.spans = append(last.spans, span{start, end})
	}
	return nil
}

// holds notes the locks that a statement took, on tables and on the rows that it changed.
func (m *measuring) holds(st *Statement) {
	ran := st.spans[0]
	for _, l := range st.Locks {
		m.locks = append(m.locks, lockHeld{l, ran})
	}
	for _, t := range st.Changed {
		m.locks = append(m.locks, lockHeld{evidence.Lock{Relation: t.Table}, ran})
	}
}

// verify runs the migration's own checks, which have been passed on the other copy: what it has locked stays locked
// meanwhile.
func (m *measuring) verify(ctx context.Context, next folder.Migration, s *script.Script) error {
	var checks []string
	for _, q := range s.Declared.Verify {
		checks = append(checks, q.SQL)
	}
	if next.Verify != "" {
		beside, err := m.options.Source.Script(next, folder.Verify)
		if err != nil {
			return err
		}
		for i := range beside.Statements {
			checks = append(checks, beside.SQL(i))
		}
	}
	if len(checks) == 0 {
		return nil
	}
	checks = slices.Concat([]string{"SAVEPOINT verify; SET LOCAL transaction_read_only = on"}, checks, []string{"ROLLBACK TO SAVEPOINT verify"})
	for _, sql := range checks {
		if _, err := m.simple(ctx, sql); err != nil {
			return fmt.Errorf("%s: verify: %w", s.File, pg.Ended(ctx, err))
		}
	}
	return nil
}

// outside runs a statement that commits by itself. Its locks are gone when it is done, so another session looks meanwhile.
func (m *measuring) outside(ctx context.Context, next folder.Migration, s *script.Script, i int, st *Statement) error {
	before, err := m.look(ctx, nil)
	if err != nil {
		return fmt.Errorf("%s: look before statement %d: %w", s.File, i+1, err)
	}
	watched := watchLocks(ctx, m.other, m.conn.PgConn().PID())
	start := time.Now()
	if s.Declared.Backfill != nil {
		err = m.batches(ctx, next, s)
	} else {
		_, err = m.simple(ctx, st.SQL)
	}
	st.spans = []span{{start, time.Now()}}
	seen := watched()
	if err != nil {
		return explain(s, i, err)
	}
	after, err := m.look(ctx, nil)
	if err != nil {
		return fmt.Errorf("%s: look after statement %d: %w", s.File, i+1, err)
	}
	if err := st.note(before, after); err != nil {
		return err
	}
	if statement := s.Statements[i]; s.Declared.Backfill == nil && !statement.Begins("CALL") && !statement.Begins("DO") { // they commit in between
		m.holds(st)
	}
	st.Locks = strongest(seen)
	m.locks = append(m.locks, seen...)
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
