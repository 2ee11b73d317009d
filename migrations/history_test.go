package migrations

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/metaextract/pipeline/internal/pgtest"
	"github.com/metaextract/pipeline/migrations/evidence"
	"github.com/metaextract/pipeline/migrations/folder"
	"github.com/metaextract/pipeline/migrations/history"
)

func TestHistoryTellsWhoDidWhatAndWhen(t *testing.T) {
	address := pgtest.Database(t)
	begin := time.Now()
	m := migrator(t, address, pgtest.Files("1_a.up.sql", "CREATE TABLE t (a int)", "1_a.down.sql", "DROP TABLE t",
		"2_b.up.sql", "-- deploy: irreversible the old numbers are gone\nUPDATE t SET a = 1; ALTER TABLE t ADD COLUMN b int"), func(o *Options) {
		o.Run, o.Release, o.Running, o.Actor, o.Tool, o.BackupID, o.RehearsalID = "run-7", "v2", "v1", "ada@laptop", "pipeline v0.3.0", "backup-1", "rehearsal-1"
	})
	outcome, err := m.Up(context.Background())
	require.NoError(t, err)
	entries, err := m.History(context.Background())
	require.NoError(t, err)
	require.Len(t, entries, 2)
	first, second := entries[0], entries[1]
	assert.WithinRange(t, first.StartedAt, begin.Add(-time.Minute), time.Now().Add(time.Minute))
	assert.False(t, first.FinishedAt.Before(first.StartedAt))
	assert.Equal(t, folder.Hash([]byte("DROP TABLE t")), first.DownSHA256)
	first.StartedAt, first.FinishedAt, first.DurationMS, first.WALBytes, first.DownSHA256 = time.Time{}, nil, 0, 0, ""
	assert.Equal(t, history.Entry{
		ID: 1, Run: "run-7", Version: 1, Name: "1_a", Direction: history.Up, Status: history.Applied, SHA256: m.Migrations()[0].SHA256,
		DownSQL: "DROP TABLE t", Statements: 1, Done: 1, Attempts: 1,
		Locks: []evidence.Lock{}, Rewrites: []string{}, Blockers: []string{}, BackupID: "backup-1", RehearsalID: "rehearsal-1", Release: "v2",
		Actor: "ada@laptop", DatabaseUser: "postgres", Tool: "pipeline v0.3.0",
	}, first)
	assert.Equal(t, 2, second.Done)
	assert.Equal(t, "the old numbers are gone", second.Irreversible)
	assert.Equal(t, []evidence.Lock{{Relation: "public.t", Mode: "AccessExclusiveLock"}}, second.Locks)
	assert.Equal(t, outcome.Applied[1].WALBytes, second.WALBytes)
	status, err := m.Status(context.Background())
	require.NoError(t, err)
	var releases []string
	for _, r := range status.Releases {
		releases = append(releases, r.Name)
	}
	assert.Equal(t, []string{"v1", "v2"}, releases)
}

func TestHistoryTellsHowAMigrationFailed(t *testing.T) {
	address := pgtest.Database(t)
	m := migrator(t, address, pgtest.Files("1_a.up.sql", "CREATE TABLE t (a int PRIMARY KEY); INSERT INTO t VALUES (1), (1)"))
	_, err := m.Up(context.Background())
	require.Error(t, err)
	entries, err := m.History(context.Background())
	require.NoError(t, err)
	require.Len(t, entries, 1)
	assert.Equal(t, history.Failed, entries[0].Status)
	assert.Equal(t, "23505", entries[0].SQLState)
	assert.Contains(t, entries[0].Error, `m/1_a.up.sql:1: duplicate key value violates unique constraint "t_pkey" (23505)`)
	assert.NotContains(t, entries[0].Error, "already exists", "PostgreSQL's detail quotes the row")
	assert.Equal(t, "none", pgtest.Value(t, address, stateQuery))
}

func TestContractMigrationRaisesTheFloorWithItself(t *testing.T) {
	address := pgtest.Database(t)
	folder := pgtest.Files("1_a.up.sql", "CREATE TABLE t (a int, b int)", "2_b.up.sql", "ALTER TABLE t DROP COLUMN b; SELECT 1/0")
	release := func(name, running string) func(*Options) {
		return func(o *Options) {
			o.Release, o.Running = name, running
			if name == "v3" {
				o.Contract = map[int64]string{2: "migration 2 drops t.b"}
			}
		}
	}
	_, err := migrator(t, address, folder, release("v1", "")).UpTo(context.Background(), 1)
	require.NoError(t, err)
	_, err = migrator(t, address, folder, release("v2", "v1")).UpTo(context.Background(), 1)
	require.NoError(t, err)
	_, err = migrator(t, address, folder, release("v3", "v2")).Up(context.Background())
	require.ErrorContains(t, err, "division by zero")
	m := migrator(t, address, folder)
	require.NoError(t, m.Allows(context.Background(), "v1"), "nothing was taken from it")

	folder["m/2_b.up.sql"].Data = []byte("ALTER TABLE t DROP COLUMN b")
	_, err = migrator(t, address, folder, release("v3", "v2")).Up(context.Background())
	require.NoError(t, err)
	require.NoError(t, m.Allows(context.Background(), "v2"), "it was shown to do without")
	require.NoError(t, m.Allows(context.Background(), "v3"))
	err = m.Allows(context.Background(), "v1")
	require.ErrorIs(t, err, history.ErrBelowFloor)
	assert.Equal(t, "release v1 is older than v2, and migration 2 drops t.b: the release is below the schema's floor; go back to v2 at most, or restore the backup from before", err.Error())
	require.ErrorIs(t, m.Allows(context.Background(), "v0"), history.ErrBelowFloor, "nobody knows whether it would work")
}

func TestContractNeedsARelease(t *testing.T) {
	_, err := New(Options{URL: "postgres://h/d", FS: pgtest.Files("1_a.up.sql", "SELECT 1"), Folder: folder.Options{Dir: "m"}, Contract: map[int64]string{1: "drops"}})
	require.ErrorContains(t, err, "no release is named")
}
