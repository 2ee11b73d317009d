package migrations

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/golang-migrate/migrate/v4/database"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/metaextract/pipeline/internal/pg"
)

// lockPoll is how often the lock is asked for. Polling is the point: a session that waits inside pg_advisory_lock holds
// a snapshot, for which CREATE INDEX CONCURRENTLY of the session that has the lock waits in turn: a deadlock
// (golang-migrate#960; pressly/goose polls too, lock/postgres.go).
const lockPoll = 100 * time.Millisecond

// lock is PostgreSQL's advisory lock on a database's migrations. The server releases it when the session ends, so a
// killed migrator blocks nobody.
type lock struct {
	conn *pgx.Conn
	key  int64
	held bool
}

// newLock takes the key of golang-migrate's own driver, so that its command line and we keep each other out.
func newLock(conn *pgx.Conn, databaseName, schema, table string) (*lock, error) {
	id, err := database.GenerateAdvisoryLockId(databaseName, schema, table)
	if err != nil {
		return nil, err
	}
	key, err := strconv.ParseInt(id, 10, 64)
	return &lock{conn: conn, key: key}, err
}

// take waits for the lock. A second call without a release is database.ErrLocked, although PostgreSQL would count it.
func (l *lock) take(ctx context.Context, wait time.Duration, notice func(string)) error {
	if l.held {
		return database.ErrLocked
	}
	start := time.Now()
	for told := false; ; told = true {
		if err := l.conn.QueryRow(ctx, "SELECT pg_try_advisory_lock($1)", l.key).Scan(&l.held); err != nil {
			return fmt.Errorf("take the migration lock: %w", pg.Ended(ctx, err))
		}
		if l.held {
			return nil
		}
		if !told || time.Since(start) >= wait {
			holder := l.holder(ctx)
			if time.Since(start) >= wait {
				return fmt.Errorf("waited %s for %s to finish migrating: %w; wait for it, or end it with SELECT pg_terminate_backend(pid)",
					time.Since(start).Round(time.Millisecond), holder, ErrLocked)
			}
			notice("waiting for " + holder + " to finish migrating")
		}
		if err := pg.Pause(ctx, lockPoll); err != nil {
			return fmt.Errorf("take the migration lock: %w", err)
		}
	}
}

// release gives the lock back, even when the run was canceled. With the connection lost, the server has done it.
func (l *lock) release(ctx context.Context) error {
	if !l.held {
		return database.ErrNotLocked
	}
	l.held = false
	if l.conn.IsClosed() {
		return nil
	}
	ctx, cancel := pg.Farewell(ctx)
	defer cancel()
	var released bool
	if err := l.conn.QueryRow(ctx, "SELECT pg_advisory_unlock($1)", l.key).Scan(&released); err != nil {
		return fmt.Errorf("release the migration lock: %w", err)
	}
	if !released {
		return errors.New("release the migration lock: it was not held any more: a migration released it, and others may have run meanwhile")
	}
	return nil
}

// heldQuery asks whether the session has the lock.
func (l *lock) heldQuery() string {
	return fmt.Sprintf(`SELECT pg_catalog.count(*) FROM pg_catalog.pg_locks WHERE locktype = 'advisory' AND granted AND objsubid = 1
		AND pid = pg_catalog.pg_backend_pid() AND (classid::bigint << 32) | objid::bigint = %d;`, l.key)
}

// errLockLost: a migration has released the lock (pg_advisory_unlock_all), so others may be at work.
var errLockLost = errors.New("the migration lock is not held any more: a migration before this one has released it")

// assert reads the answer to heldQuery, the last one. A lock that nobody took is not missed.
func (l *lock) assert(results []*pgconn.Result) error {
	if last := results[len(results)-1]; l.held && (len(last.Rows) != 1 || string(last.Rows[0][0]) == "0") {
		return errLockLost
	}
	return nil
}

// holder says who has the lock. Seeing another user's application name needs no privilege.
func (l *lock) holder(ctx context.Context) string {
	var pid int32
	var application, user, since string
	err := l.conn.QueryRow(ctx, `
		SELECT l.pid, coalesce(nullif(a.application_name, ''), 'unnamed'), coalesce(a.usename, '?'),
			coalesce(to_char(a.backend_start AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI:SS "UTC"'), '?')
		FROM pg_locks l LEFT JOIN pg_stat_activity a USING (pid)
		WHERE l.locktype = 'advisory' AND l.granted AND l.objsubid = 1
			AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())
			AND (l.classid::bigint << 32) | l.objid::bigint = $1
		LIMIT 1`, l.key).Scan(&pid, &application, &user, &since)
	if err != nil {
		return "another migrator"
	}
	return fmt.Sprintf("pid %d (%s, user %s, connected since %s)", pid, application, user, since)
}
