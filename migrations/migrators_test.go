package migrations

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/metaextract/pipeline/internal/pgtest"
	"github.com/metaextract/pipeline/migrations/history"
)

// Several migrators at once on one database: whatever happens to one of them, every migration is applied once, and all end.

// rounds are how often each of the races is run.
func rounds() int {
	if pgtest.Exhaustive() {
		return 50
	}
	return 10
}

// together runs migrators of the matrix's folder at once and returns how many migrations each has applied.
func together(t testing.TB, address string, n int, group *sync.WaitGroup) []int {
	t.Helper()
	applied := make([]int, n)
	for i := range applied {
		group.Go(func() {
			outcome, err := migrator(t, address, matrixFolder(), func(o *Options) {
				o.LockTimeout, o.LockWait, o.RetryBudget = time.Second, 2*time.Minute, time.Minute
			}).Up(context.Background())
			assert.NoError(t, err)
			applied[i] = len(outcome.Applied)
		})
	}
	return applied
}

// assertOnce checks that every migration of the matrix is applied, and once.
func assertOnce(t testing.TB, address, top string) {
	t.Helper()
	require.Equal(t, top, signature(t, address))
	truthful(t, address)
	assert.Equal(t, "1 1,2 1,3 1,4 1,5 1,6 1", pgtest.Value(t, address, "SELECT string_agg(version || ' ' || n, ',' ORDER BY version) FROM (SELECT version, count(*) n FROM deploy_migrations WHERE status = 'applied' GROUP BY 1) x"))
	assert.Equal(t, "6 false", pgtest.Value(t, address, stateQuery))
	assert.Equal(t, "0", pgtest.Value(t, address, invalidQuery))
	assert.Equal(t, "0", pgtest.Value(t, address, "SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()"))
	assertNoAdvisoryLock(t, address)
}

func sum(numbers []int) (total int) {
	for _, n := range numbers {
		total += n
	}
	return total
}

func TestMigratorsAtOnce(t *testing.T) {
	t.Parallel()
	known := units(t)
	top := known[len(known)-1]
	for _, n := range []int{2, 20} {
		t.Run(fmt.Sprint(n), func(t *testing.T) {
			address := pgtest.Database(t)
			for range rounds() {
				settle(t, address)
				empty(t, address)
				var group sync.WaitGroup
				applied := together(t, address, n, &group)
				group.Wait()
				assert.Equal(t, 6, sum(applied))
				assertOnce(t, address, top)
				runs := pgtest.Value(t, address, "SELECT count(DISTINCT run) FROM deploy_migrations")
				assert.Equal(t, "1", runs, "one of them does it all")
			}
		})
	}
}

func TestOneOfTwentyMigratorsIsKilledAtWork(t *testing.T) {
	t.Parallel()
	known := units(t)
	top := known[len(known)-1]
	address := pgtest.Database(t)
	const atWork = 30 // the message by which it has the lock and has begun
	const last = 400  // about the last message of its run, whose batches are as many as the machine is quick
	midway, kills := 0, 0
	for round := range rounds() {
		settle(t, address)
		empty(t, address)
		point := atWork + 1 + round*(last-atWork)/rounds()
		var child *exec.Cmd
		begun, killed := make(chan struct{}), false
		waiting := "(SELECT count(*) >= 19 FROM pg_stat_activity WHERE datname = current_database() AND application_name = 'pipeline-migrations' AND query LIKE '%pg_try_advisory_lock%')"
		proxy := pgtest.NewProxy(t, address, func(m pgtest.Message) pgtest.Verdict {
			switch {
			case m.Conn > 1:
				return pgtest.Pass
			case m.Number == atWork:
				close(begun)
				pgtest.Eventually(t, address, waiting) // the others are there while it works
			case m.Number == point:
				_ = child.Process.Signal(syscall.SIGKILL)
				killed = true
				return pgtest.Cut
			}
			return pgtest.Pass
		})
		child = exec.Command(os.Args[0])
		child.Env = append(os.Environ(), childVariable+"=up "+proxy.URL(t, address))
		child.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
		require.NoError(t, child.Start())
		<-begun
		var group sync.WaitGroup
		applied := together(t, address, 19, &group)
		_ = child.Wait()
		group.Wait()
		proxy.Close()
		if killed {
			kills++
		}
		assertOnce(t, address, top)
		if n := sum(applied); n < 6 {
			midway++
		}
		survivors := 0
		for _, n := range applied {
			if n > 0 {
				survivors++
			}
		}
		assert.LessOrEqual(t, survivors, 1, "round %d: one of the others goes on", round)
	}
	assert.Positive(t, midway, "some were killed after their first migration")
	assert.Greater(t, kills, rounds()/2, "some may have been at the end before")
	t.Logf("%d rounds, %d of them with a kill, in %d of which others went on in the middle", rounds(), kills, midway)
}

func TestTwentyMigratorsWaitForALongTransaction(t *testing.T) {
	address := pgtest.Database(t)
	pgtest.Exec(t, address, "CREATE TABLE t (a int); INSERT INTO t VALUES (1)")
	files := pgtest.Files("1_a.up.sql", "ALTER TABLE t ADD COLUMN b int DEFAULT 0", "2_i.up.sql", "CREATE INDEX CONCURRENTLY i ON t (b)", "3_n.up.sql", "UPDATE t SET b = b + 1")
	holder := pgtest.Session(t, pgtest.Named(address, "report-job"))
	_, err := holder.Exec(context.Background(), "BEGIN; SELECT * FROM t", pgtest.Simply)
	require.NoError(t, err)
	var group sync.WaitGroup
	var once sync.Once
	waiting := make(chan struct{})
	applied, slowest := make([]int, 20), make([]time.Duration, 20)
	for i := range applied {
		group.Go(func() {
			outcome, err := migrator(t, address, files, func(o *Options) {
				o.LockWait = 2 * time.Minute
				o.Notice = func(n string) {
					if strings.Contains(n, "waiting for pid") && strings.Contains(n, "report-job") {
						once.Do(func() { close(waiting) })
					}
				}
			}).Up(context.Background())
			assert.NoError(t, err)
			applied[i], slowest[i] = len(outcome.Applied), outcome.Elapsed
		})
	}
	<-waiting
	reader := pgtest.Session(t, address)
	_, err = reader.Exec(context.Background(), "SET statement_timeout = '20s'; SELECT * FROM t", pgtest.Simply)
	require.NoError(t, err, "others read and write meanwhile: nobody queues behind a lock that is not to be had")
	_, err = holder.Exec(context.Background(), "COMMIT")
	require.NoError(t, err)
	group.Wait()
	assert.Equal(t, 3, sum(applied))
	assert.Equal(t, "1", pgtest.Value(t, address, "SELECT b FROM t"))
	assert.Equal(t, "0", pgtest.Value(t, address, "SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()"))
	assertNoAdvisoryLock(t, address)
}

func TestClockOfTheServerDoesNotMatter(t *testing.T) {
	for _, shift := range []string{"-400 days", "400 days"} {
		t.Run(shift, func(t *testing.T) {
			address := pgtest.Database(t)
			files := pgtest.Files(threeTables...)
			_, err := migrator(t, address, files).UpTo(context.Background(), 2)
			require.NoError(t, err)
			_, err = migrator(t, address, files).Down(context.Background(), 1)
			require.NoError(t, err)
			// As if the clock had been wrong then, and was set right after.
			pgtest.Exec(t, address, "UPDATE deploy_migrations SET started_at = started_at + id * interval '"+shift+"', finished_at = finished_at + id * interval '"+shift+"'; UPDATE deploy_catalog SET taken_at = taken_at + interval '"+shift+"'")
			assert.Equal(t, map[int64]State{1: StateApplied, 2: StatePending, 3: StatePending}, states(t, address, files))
			status, err := migrator(t, address, files).Status(context.Background())
			require.NoError(t, err)
			assert.True(t, status.DriftKnown)
			assert.Empty(t, status.Drift)
			_, err = migrator(t, address, files).Up(context.Background())
			require.NoError(t, err)
			_, err = migrator(t, address, files).Down(context.Background(), history.NoVersion)
			require.NoError(t, err)
			assert.Equal(t, "none", pgtest.Value(t, address, stateQuery))
		})
	}
}
