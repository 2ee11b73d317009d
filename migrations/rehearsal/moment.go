package rehearsal

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/metaextract/pipeline/migrations/evidence"
	"github.com/metaextract/pipeline/migrations/history"
)

// moment is what is known of the copy at one time.
type moment struct {
	evidence []*pgconn.Result
	tables   map[uint32]activity
	locks    []evidence.Lock // of the open transaction
	wal      int64
	size     int64 // of the database
}

// activity is what was done to a table's rows until a moment.
type activity struct {
	name    string
	read    int64 // by sequential scans
	changed int64 // updated or deleted, so that they are locked
	rows    int64 // that it has, as the planner knows them
	there   bool  // it was there before the migration
}

// What the open transaction did is this session's own; what is committed is everybody's.
const activityQuery = `SELECT s.relid, pg_catalog.format('%%I.%%I', s.schemaname, s.relname), s.seq_tup_read, s.n_tup_upd + s.n_tup_del,
		greatest(c.reltuples, 0)::bigint
	FROM pg_catalog.%s s JOIN pg_catalog.pg_class c ON c.oid = s.relid
	WHERE s.schemaname NOT LIKE 'pg\_%%' AND s.schemaname <> 'information_schema' AND s.relname <> ALL ($1)`

// look takes a look. there are the relations from before the migration, where it is in a transaction; otherwise nil.
func (m *measuring) look(ctx context.Context, there map[uint32]bool) (moment, error) {
	now := moment{tables: map[uint32]activity{}}
	var err error
	start := time.Now()
	defer func() { m.looks = append(m.looks, span{start, time.Now()}) }()
	view := "pg_stat_xact_all_tables"
	if there == nil {
		view = "pg_stat_all_tables"
		_, _ = m.simple(ctx, "SELECT pg_catalog.pg_stat_force_next_flush()") // PostgreSQL 15 and later; the next statement flushes
	}
	if now.evidence, err = m.simple(ctx, evidence.Query); err != nil {
		return now, err
	}
	rows, err := m.conn.Query(ctx, fmt.Sprintf(activityQuery, view), history.Names)
	if err != nil {
		return now, err
	}
	var oid uint32
	var a activity
	if _, err = pgx.ForEachRow(rows, []any{&oid, &a.name, &a.read, &a.changed, &a.rows}, func() error {
		a.there = there == nil || there[oid]
		now.tables[oid] = a
		return nil
	}); err != nil {
		return now, err
	}
	if there != nil {
		if now.locks, err = held(ctx, m.conn, there); err != nil {
			return now, err
		}
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
	s.Rewrites = e.Rewrites
	s.WALBytes, s.DiskBytes = after.wal-before.wal, max(after.size-before.size, 0)
	s.DurationMS = milliseconds(s.spans[0].length())
	for oid, now := range after.tables {
		was := before.tables[oid]
		// A scan may be counted twice (an index rebuilt) or in part (parallel workers): half of the table tells.
		if read := now.read - was.read; read > 0 && 2*read >= now.rows && read >= leastScanned {
			s.Scans = append(s.Scans, Scan{Table: now.name, Rows: now.rows})
		}
		if changed := now.changed - was.changed; changed > 0 && now.there {
			s.Changed = append(s.Changed, Scan{Table: now.name, Rows: changed})
		}
	}
	for _, list := range [][]Scan{s.Scans, s.Changed} {
		slices.SortFunc(list, func(a, b Scan) int { return cmp.Compare(a.Table, b.Table) })
	}
	return nil
}

// leastScanned is the number of rows below which a scan is no scan: a page of them is read in a tenth of a millisecond.
const leastScanned = 100

func milliseconds(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }
