package backfill

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/metaextract/pipeline/internal/pgtest"
	"github.com/metaextract/pipeline/migrations/history"
)

const twentyRows = "CREATE TABLE t (k int PRIMARY KEY, n int NOT NULL DEFAULT 0); INSERT INTO t SELECT generate_series(1, 20)"

func TestPausedBackfillGoesOnAfterResume(t *testing.T) {
	address := pgtest.Database(t)
	pgtest.Exec(t, address, twentyRows)
	conn, other := connect(t, address), connect(t, address)
	o := options(t, address, count)
	passed(&o)
	atBatch(&o, 2, func() { require.NoError(t, Pause(context.Background(), other, "public", version)) })
	p, err := Run(context.Background(), conn, o)
	require.ErrorIs(t, err, ErrPaused)
	require.EqualError(t, err, "m/7_fill.up.sql: the backfill is paused; resume it, then run again: it goes on behind the last batch")
	assert.Equal(t, Paused, p.State)
	assert.Equal(t, int64(2), p.Batches)
	assert.Equal(t, "7", p.Position, "a batch of three, and one of four")
	assert.InDelta(t, 7.0/float64(p.Total), p.Fraction, 0.001)
	assert.Equal(t, p, listed(t, address))
	assert.Equal(t, "7", pgtest.Value(t, address, "SELECT sum(n) FROM t"))

	p, err = Run(context.Background(), conn, options(t, address, count))
	require.ErrorIs(t, err, ErrPaused)
	assert.Equal(t, int64(2), p.Batches, "a paused one stays where it is")

	require.NoError(t, Pause(context.Background(), other, "public", version), "twice is once")
	require.NoError(t, Resume(context.Background(), other, "public", version))
	assert.Equal(t, Interrupted, listed(t, address).State, "until somebody runs it")
	p, err = Run(context.Background(), conn, options(t, address, count))
	require.NoError(t, err)
	assert.Equal(t, int64(20), p.Done)
	assert.Equal(t, "1", pgtest.Value(t, address, "SELECT string_agg(DISTINCT n::text, ' ') FROM t"))
}

func TestPauseWaitsForTheBatchAndNoOtherBegins(t *testing.T) {
	address := pgtest.Database(t)
	pgtest.Exec(t, address, twentyRows)
	gate, other := connect(t, address), connect(t, address)
	_, err := gate.Exec(context.Background(), "SELECT pg_advisory_lock(1)")
	require.NoError(t, err)
	o := options(t, address, "-- deploy: backfill t by k batch 3\nUPDATE t SET n = n + 1 WHERE k BETWEEN $1 AND $2 AND (k <> 5 OR pg_advisory_xact_lock_shared(1) IS NOT NULL)")
	o.LockTimeout, o.MaxBlocked = time.Minute, time.Minute // the batch is not given up because Pause waits for it
	ran := make(chan error, 1)
	go func() {
		_, err := Run(context.Background(), connect(t, address), o)
		ran <- err
	}()
	pgtest.Eventually(t, address, "EXISTS (SELECT FROM pg_locks WHERE NOT granted AND locktype = 'advisory')")
	paused := make(chan error, 1)
	go func() { paused <- Pause(context.Background(), other, "public", version) }()
	pgtest.Eventually(t, address, fmt.Sprintf("EXISTS (SELECT FROM pg_locks WHERE NOT granted AND pid = %d)", other.PgConn().PID()))
	_, err = gate.Exec(context.Background(), "SELECT pg_advisory_unlock(1)")
	require.NoError(t, err)
	require.NoError(t, <-paused)
	done := pgtest.Value(t, address, "SELECT sum(n) FROM t")
	require.ErrorIs(t, <-ran, ErrPaused)
	assert.Equal(t, done, pgtest.Value(t, address, "SELECT sum(n) FROM t"))
	assert.Equal(t, int64(2), listed(t, address).Batches)
}

func TestPauseAndResumeOfWhatDoesNotRunSayWhy(t *testing.T) {
	address := pgtest.Database(t)
	conn := connect(t, address)
	require.EqualError(t, Pause(context.Background(), conn, "public", version), "pause backfill of version 7: it has not begun")
	list, err := List(context.Background(), conn, "public")
	require.NoError(t, err)
	assert.Empty(t, list)
	pgtest.Exec(t, address, twentyRows)
	_, err = Run(context.Background(), conn, options(t, address, count))
	require.NoError(t, err)
	require.EqualError(t, Pause(context.Background(), conn, "public", version), "pause backfill of version 7: it is done")
	require.EqualError(t, Resume(context.Background(), conn, "public", version), "resume backfill of version 7: it is done")
	require.EqualError(t, Resume(context.Background(), conn, "public", 8), "resume backfill of version 8: it has not begun")
}

func TestOneThatRunsIsListedAsRunningAndKeepsAnotherOut(t *testing.T) {
	address := pgtest.Database(t)
	pgtest.Exec(t, address, twentyRows)
	o := options(t, address, count)
	passed(&o)
	atBatch(&o, 2, func() {
		p := listed(t, address)
		assert.Equal(t, Running, p.State)
		assert.Equal(t, int64(2), p.Batches)
		assert.Equal(t, "7", p.Position)
		_, err := Run(context.Background(), connect(t, address), options(t, address, count))
		assert.EqualError(t, err, "another session is at work on the backfill of version 7: wait for it")
	})
	_, err := Run(context.Background(), connect(t, address), o)
	require.NoError(t, err)
}

func TestRunWhoseLockIsLostDoesNothingTwice(t *testing.T) {
	address := pgtest.Database(t)
	pgtest.Exec(t, address, twentyRows)
	conn := connect(t, address)
	o := options(t, address, count)
	atBatch(&o, 2, func() {
		_, err := conn.Exec(context.Background(), "SELECT pg_advisory_unlock_all()")
		require.NoError(t, err)
		_, err = Run(context.Background(), connect(t, address), options(t, address, count))
		require.NoError(t, err)
	})
	_, err := Run(context.Background(), conn, o)
	require.EqualError(t, err, `m/7_fill.up.sql: another run has changed the backfill's row in "public"."deploy_backfills" meanwhile`)
	assert.Equal(t, "1", pgtest.Value(t, address, "SELECT string_agg(DISTINCT n::text, ' ') FROM t"))
	assert.Equal(t, Done, listed(t, address).State)
}

func TestEditedFileIsRefusedOnceABatchIsDone(t *testing.T) {
	address := pgtest.Database(t)
	pgtest.Exec(t, address, twentyRows)
	conn := connect(t, address)
	broken := strings.Replace(count, "n + 1", "n / 0", 1)
	_, err := Run(context.Background(), conn, options(t, address, broken))
	require.ErrorContains(t, err, "division by zero (22012)")
	o := options(t, address, count) // corrected, with nothing done
	atBatch(&o, 2, func() { require.NoError(t, Pause(context.Background(), connect(t, address), "public", version)) })
	_, err = Run(context.Background(), conn, o)
	require.ErrorIs(t, err, ErrPaused)
	require.NoError(t, Resume(context.Background(), conn, "public", version))

	edited := strings.Replace(count, "n + 1", "n + 2", 1)
	_, err = Run(context.Background(), conn, options(t, address, edited))
	require.ErrorIs(t, err, ErrEdited)
	const repair = `DELETE FROM "public"."deploy_backfills" WHERE version = 7`
	require.EqualError(t, err, "m/7_fill.up.sql:1: a backfill was edited half way: 2 batches of it are done with another text. Put that text back, or begin anew with this one: "+repair)

	_, err = Run(context.Background(), conn, options(t, address, strings.Replace(count, "batch 3", "batch 2 pause 1ms", 1)))
	require.NoError(t, err, "how large the batches are may change")
	pgtest.Exec(t, address, repair)
	p, err := Run(context.Background(), conn, options(t, address, edited))
	require.NoError(t, err)
	assert.Equal(t, int64(20), p.Done)
}

func TestDoneBackfillIsDoneWhenItsRunWasKilledBeforeTheHistoryKnew(t *testing.T) {
	address := pgtest.Database(t)
	pgtest.Exec(t, address, twentyRows)
	conn := connect(t, address)
	_, err := Run(context.Background(), conn, options(t, address, count))
	require.NoError(t, err)
	pgtest.Exec(t, address, "INSERT INTO t VALUES (21)")
	p, err := Run(context.Background(), conn, options(t, address, count))
	require.NoError(t, err)
	assert.Equal(t, Done, p.State)
	assert.Equal(t, "1", pgtest.Value(t, address, "SELECT string_agg(DISTINCT n::text, ' ') FROM t"), "the new row too, and no other again")
}

func TestBackfillBeginsAnewAfterItsMigrationOrOneBelowItWasTakenBack(t *testing.T) {
	for _, tt := range []struct {
		name  string
		taken history.Entry
		again bool
	}{
		{"this one", history.Entry{Version: version, Direction: history.Down, Status: history.Applied}, true},
		{"one below it", history.Entry{Version: version - 1, Direction: history.Down, Status: history.Applied}, true},
		{"one above it", history.Entry{Version: version + 1, Direction: history.Down, Status: history.Applied}, false},
		{"this one, in vain", history.Entry{Version: version, Direction: history.Down, Status: history.Failed}, false},
		{"nothing", history.Entry{Version: version, Direction: history.Up, Status: history.Applied}, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			address := pgtest.Database(t)
			pgtest.Exec(t, address, twentyRows)
			conn := connect(t, address)
			tables, err := history.Find(context.Background(), conn)
			require.NoError(t, err)
			require.NoError(t, tables.Create(context.Background(), conn))
			note := func(e history.Entry) {
				_, err := tables.Begin(context.Background(), conn, e)
				require.NoError(t, err)
			}
			note(history.Entry{Version: version, Direction: history.Down, Status: history.Applied, Name: "long ago"})
			_, err = Run(context.Background(), conn, options(t, address, count))
			require.NoError(t, err)
			note(tt.taken)
			for range 2 { // and not for ever
				_, err = Run(context.Background(), conn, options(t, address, count))
				require.NoError(t, err)
			}
			want := "1"
			if tt.again {
				want = "2"
			}
			assert.Equal(t, want, pgtest.Value(t, address, "SELECT string_agg(DISTINCT n::text, ' ') FROM t"))
		})
	}
}

func TestRowThatSomebodyDeletedEndsTheRun(t *testing.T) {
	address := pgtest.Database(t)
	pgtest.Exec(t, address, twentyRows)
	o := options(t, address, count)
	atBatch(&o, 2, func() { pgtest.Exec(t, address, "DELETE FROM deploy_backfills") })
	p, err := Run(context.Background(), connect(t, address), o)
	require.EqualError(t, err, `m/7_fill.up.sql: somebody has deleted the backfill's row in "public"."deploy_backfills": run again to begin anew`)
	assert.Equal(t, int64(2), p.Batches)
}
