package migrations

import (
	"context"
	"fmt"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/metaextract/pipeline/internal/pgtest"
	"github.com/metaextract/pipeline/migrations/history"
)

// lockedBy takes the lock for another session, named.
func lockedBy(t testing.TB, address, name string) (release func()) {
	t.Helper()
	d, err := open(context.Background(), migrator(t, pgtest.Named(address, name), pgtest.Files("1_a.up.sql", "SELECT 1")).options)
	require.NoError(t, err)
	require.NoError(t, d.Lock())
	release = func() { _ = d.Close() }
	t.Cleanup(release)
	return release
}

func TestLockSaysWhoHoldsIt(t *testing.T) { // C
	address := pgtest.Database(t)
	lockedBy(t, address, "night-shift")
	var notices []string
	m := migrator(t, address, pgtest.Files("1_a.up.sql", "SELECT 1"), func(o *Options) {
		o.LockWait = 250 * time.Millisecond
		o.Notice = func(n string) { notices = append(notices, n) }
	})
	start := time.Now()
	_, err := m.Up(context.Background())
	require.ErrorIs(t, err, ErrLocked)
	assert.Regexp(t, `waited \S+ for pid \d+ \(night-shift, user postgres, connected since \d{4}-\d\d-\d\d \d\d:\d\d:\d\d UTC\) to finish migrating`, err.Error())
	assert.Less(t, time.Since(start), 20*time.Second)
	require.Len(t, notices, 1, "told once, not at every poll")
	assert.Regexp(t, `^waiting for pid \d+ \(night-shift`, notices[0])
}

func TestLockWaitEndsWithTheContextAndLeavesNothingWaiting(t *testing.T) { // C, D
	address := pgtest.Database(t)
	release := lockedBy(t, address, "night-shift")
	ctx, cancel := context.WithCancel(context.Background())
	waiting := make(chan struct{})
	var once sync.Once
	m := migrator(t, address, pgtest.Files("1_a.up.sql", "SELECT 1"), func(o *Options) {
		o.LockWait = time.Hour
		o.Notice = func(string) { once.Do(func() { close(waiting) }) }
	})
	ended := make(chan error, 1)
	go func() {
		_, err := m.Up(ctx)
		ended <- err
	}()
	<-waiting
	start := time.Now()
	cancel()
	require.ErrorIs(t, <-ended, context.Canceled)
	assert.Less(t, time.Since(start), 20*time.Second)
	release()
	pgtest.Eventually(t, address, "NOT EXISTS (SELECT FROM pg_locks WHERE locktype = 'advisory' AND database = (SELECT oid FROM pg_database WHERE datname = current_database()))")
	_, err := m.Up(context.Background())
	require.NoError(t, err, "golang-migrate's own driver would have leaked the lock by now")
}

func TestPendingAndVersionNeedNoLock(t *testing.T) {
	address := pgtest.Database(t)
	m := migrator(t, address, pgtest.Files("1_a.up.sql", "SELECT 1"))
	lockedBy(t, address, "night-shift")
	pending, err := m.Pending(context.Background())
	require.NoError(t, err)
	assert.Len(t, pending, 1)
	version, err := m.Version(context.Background())
	require.NoError(t, err)
	assert.Equal(t, history.NoVersion, version)
	assert.Equal(t, "NULL", pgtest.Value(t, address, "SELECT to_regclass('schema_migrations')"), "looking writes nothing")
}

func TestTwentyMigratorsAtOnceApplyEachMigrationOnce(t *testing.T) { // E
	address := pgtest.Database(t)
	folder := pgtest.Files("1_a.up.sql", "CREATE TABLE t (a int)", "2_w.up.sql", "SELECT pg_sleep(0.3)", "3_i.up.sql", "CREATE INDEX CONCURRENTLY i ON t (a)", "4_n.up.sql", "INSERT INTO t VALUES (1)")
	applied := make([]int, 20)
	var group sync.WaitGroup
	for i := range applied {
		group.Go(func() {
			outcome, err := migrator(t, address, folder).Up(context.Background())
			assert.NoError(t, err)
			applied[i] = len(outcome.Applied)
		})
	}
	group.Wait()
	total := 0
	for _, n := range applied {
		total += n
		assert.Contains(t, []int{0, 4}, n, "one migrator does it all")
	}
	assert.Equal(t, 4, total)
	assert.Equal(t, "1", pgtest.Value(t, address, "SELECT count(*) FROM t"))
	assert.Equal(t, "4 false", pgtest.Value(t, address, stateQuery))
	assertNoAdvisoryLock(t, address)
}

func TestLockThatAMigrationReleasedIsAnError(t *testing.T) {
	address := pgtest.Database(t)
	_, err := migrator(t, address, pgtest.Files("1_a.up.sql", "SELECT pg_advisory_unlock_all()")).Up(context.Background())
	require.ErrorContains(t, err, "it was not held any more")
}

func TestLockKeyIsReadableInPgLocks(t *testing.T) {
	for _, schema := range []string{"public", "a", "b", "c", "d", "e", "f"} { // keys above and below 2^31
		l, err := newLock(nil, "metaextract", schema, history.StockVersion)
		require.NoError(t, err)
		assert.LessOrEqual(t, l.key, int64(1)<<32-1, fmt.Sprint(schema, " ", strconv.FormatInt(l.key, 16)))
	}
}

func TestCanceledRunEndsAndLeavesNothingBehind(t *testing.T) {
	bodies := map[string]string{
		"in a transaction":      "CREATE TABLE t (); SELECT pg_sleep(60)",
		"outside a transaction": "-- deploy: no-transaction\nSELECT pg_sleep(60)",
	}
	for name, body := range bodies {
		t.Run(name, func(t *testing.T) {
			address := pgtest.Database(t)
			ctx, cancel := context.WithCancelCause(context.Background())
			ended := make(chan error, 1)
			go func() {
				_, err := migrator(t, address, pgtest.Files("1_a.up.sql", body)).Up(ctx)
				ended <- err
			}()
			pgtest.Eventually(t, address, "EXISTS (SELECT FROM pg_stat_activity WHERE datname = current_database() AND wait_event = 'PgSleep')")
			start := time.Now()
			reason := fmt.Errorf("somebody pressed ^C")
			cancel(reason)
			err := <-ended
			require.ErrorIs(t, err, reason)
			assert.Less(t, time.Since(start), 20*time.Second)
			assertNoAdvisoryLock(t, address) // at once, not eventually
			assert.Equal(t, "none", pgtest.Value(t, address, stateQuery))
			assert.Equal(t, "0", pgtest.Value(t, address, "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event = 'PgSleep'"))
		})
	}
}
