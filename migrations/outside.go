package migrations

import (
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/metaextract/pipeline/internal/pg"
	"github.com/metaextract/pipeline/migrations/evidence"
	"github.com/metaextract/pipeline/migrations/script"
)

// runOutside applies a file statement by statement, without a transaction. The version is written first, as dirty, for
// such a file can stop half done. Where nothing was done before it stopped, the version is put back, so the usual file,
// a lone CREATE INDEX CONCURRENTLY, is as safe to run again as any other.
func (d *driver) runOutside(s *script.Script) error {
	start := time.Now()
	previous, _, err := d.table.read(d.ctx, d.conn)
	if err != nil {
		return err
	}
	announcedVersion := d.state == announced
	if announcedVersion {
		if err := d.write(d.pending, true); err != nil {
			return err
		}
	}
	before, err := d.simple(evidence.Query)
	if err != nil {
		return d.failed(s, "look before", err)
	}
	for i := range s.Statements {
		if err := d.runAlone(s, i); err != nil {
			return d.halfway(s, i, previous, announcedVersion, err)
		}
	}
	after, err := d.simple(d.restored() + evidence.Query)
	if err == nil {
		d.applied.Evidence, err = evidence.Compare(before, after)
	}
	if err != nil {
		return d.failed(s, "look after", err)
	}
	d.applied.Duration = time.Since(start)
	if !announcedVersion {
		return nil
	}
	return d.write(d.pending, false)
}

// runAlone runs one statement, again while other sessions are in the way. A build of an index that failed leaves it
// behind, invalid: it costs every write and makes the next attempt fail with "already exists", or, with IF NOT EXISTS,
// succeed without an index. So it is dropped.
func (d *driver) runAlone(s *script.Script, i int) error {
	st := s.Statements[i]
	lockTimeout := d.options.LockTimeout
	if script.Concurrent(st) {
		// It waits for the transactions that are open, and nobody waits for it.
		lockTimeout = d.options.StatementTimeout
	}
	err := d.retry.do(d.ctx, s.File, func(n int) error {
		d.applied.Attempts = max(d.applied.Attempts, n)
		if _, err := d.simple(d.limits(lockTimeout)); err != nil {
			return d.failed(s, "prepare", err)
		}
		invalid, err := d.invalidIndexes()
		if err != nil {
			return d.failed(s, "prepare", err)
		}
		_, err = d.send(s.Text[st.Start:st.End])
		if err == nil {
			return nil
		}
		if cleaning := d.dropInvalid(invalid); cleaning != nil {
			err = errors.Join(err, cleaning)
		}
		var server *pgconn.PgError
		if errors.As(err, &server) {
			return s.Explain(server, st.Start, i)
		}
		return err
	})
	return d.blame(s, err)
}

// halfway says what is done and what is not. With nothing done it puts the version back.
func (d *driver) halfway(s *script.Script, finished, previous int, announcedVersion bool, err error) error {
	if !announcedVersion {
		return err
	}
	if finished == 0 && !d.conn.IsClosed() {
		ctx, cancel := pg.Farewell(d.ctx)
		defer cancel()
		if _, restored := d.conn.PgConn().Exec(ctx, "BEGIN READ WRITE;"+d.table.set(previous, false)+"COMMIT").ReadAll(); restored == nil {
			return err
		}
	}
	return fmt.Errorf("%w\n  %d of its %d statements are done and stay done, for the file cannot run in a transaction: %w.\n  Finish or undo it by hand, then tell: %s",
		err, finished, len(s.Statements), ErrDirty, d.table.repair(d.pending, previous))
}

// invalidIndexes are the indexes whose build has not been finished.
func (d *driver) invalidIndexes() (map[uint32]string, error) {
	rows, err := d.conn.Query(d.ctx, `
		SELECT i.indexrelid, format('%I.%I', n.nspname, c.relname)
		FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid JOIN pg_namespace n ON n.oid = c.relnamespace
		WHERE NOT i.indisvalid AND c.relkind = 'i'
			AND i.indexrelid NOT IN (SELECT index_relid FROM pg_stat_progress_create_index WHERE pid <> pg_backend_pid())`)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	indexes := map[uint32]string{}
	for rows.Next() {
		var oid uint32
		var name string
		if err := rows.Scan(&oid, &name); err != nil {
			return nil, err
		}
		indexes[oid] = name
	}
	return indexes, rows.Err()
}

// dropInvalid removes the indexes that have become invalid since.
func (d *driver) dropInvalid(since map[uint32]string) error {
	if d.conn.IsClosed() {
		return nil
	}
	ctx, cancel := pg.Farewell(d.ctx)
	defer cancel()
	clean := *d
	clean.ctx = ctx
	now, err := clean.invalidIndexes()
	if err != nil {
		return fmt.Errorf("look for an invalid index: %w", err)
	}
	for oid, name := range now {
		if _, old := since[oid]; old {
			continue
		}
		if _, err := clean.conn.Exec(ctx, "DROP INDEX CONCURRENTLY IF EXISTS "+name); err != nil {
			return fmt.Errorf("the invalid index %s is left: drop it: %w", name, err)
		}
	}
	return nil
}
