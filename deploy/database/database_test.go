package database_test

import (
	"context"
	"errors"
	"os"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/metaextract/pipeline/deploy/database"
	"github.com/metaextract/pipeline/internal/config"
	"github.com/metaextract/pipeline/internal/host"
	"github.com/metaextract/pipeline/internal/pg"
	"github.com/metaextract/pipeline/internal/pgtest"
	"github.com/metaextract/pipeline/migrations"
	"github.com/metaextract/pipeline/migrations/backup"
	"github.com/metaextract/pipeline/migrations/history"
	"github.com/metaextract/pipeline/migrations/rehearsal"
	"github.com/metaextract/pipeline/migrations/statement"
)

func TestMain(m *testing.M) { pgtest.Main(m) }

const items = "CREATE TABLE items (id bigint PRIMARY KEY, name text)"

// shop is a database at version 1 with a row, and the stage of a release that has more files: name, content, name, content …
func shop(t *testing.T, more ...string) (*database.Stage, *[]string) {
	t.Helper()
	return shopOn(t, pgtest.Server(t), more...)
}

func shopOn(t *testing.T, server string, more ...string) (*database.Stage, *[]string) {
	t.Helper()
	files := pgtest.Files("1_items.up.sql", items, "1_items.down.sql", "DROP TABLE items")
	var said []string
	s := &database.Stage{
		Files: files, URL: pgtest.DatabaseOn(t, server), Dumper: host.Dumper{}, Scratch: server, Dir: t.TempDir(),
		Config: &config.Database{Migrations: "m", Backup: config.Backup{Keep: 7}, Budget: config.Budget{BlockedReads: time.Minute, BlockedWrites: time.Minute, Duration: time.Hour}},
		Notice: func(message string) { said = append(said, message) },
	}
	_, err := s.Apply(t.Context(), "", nil)
	require.NoError(t, err)
	pgtest.Exec(t, s.URL, "INSERT INTO items (id, name) VALUES (1, 'lamp')")
	for i := 0; i < len(more); i += 2 {
		files["m/"+more[i]] = &fstest.MapFile{Data: []byte(more[i+1])}
	}
	return s, &said
}

// version is what the database says that it is at.
func version(t *testing.T, s *database.Stage) string {
	return pgtest.Value(t, s.URL, "SELECT version FROM schema_migrations")
}

func TestPlanClassifiesWhatIsPendingAndChangesNothing(t *testing.T) {
	s, _ := shop(t, "2_more.up.sql", "ALTER TABLE items ADD COLUMN price int;\n\nALTER TABLE items DROP COLUMN name;", "3_none.up.sql", "-- deploy: irreversible it is nothing\nSELECT 1")
	p, err := s.Plan(t.Context())
	require.NoError(t, err)
	assert.EqualValues(t, 1, p.Version)
	require.Len(t, p.Pending, 2)
	more := p.Pending[0]
	assert.Equal(t, statement.Contract, more.Class, "the class of a migration is that of the statement which takes most")
	require.Len(t, more.Statements, 2)
	assert.Equal(t, statement.Expand, more.Statements[0].Class)
	assert.Equal(t, 3, more.Statements[1].Line)
	assert.Equal(t, "AccessExclusiveLock", more.Statements[1].Lock)
	assert.Contains(t, p.Contract[2], "name")
	assert.Equal(t, statement.Neutral, p.Pending[1].Class)
	assert.NotContains(t, p.Contract, int64(3))
	var named []string
	for _, f := range p.Findings {
		assert.EqualValues(t, 2, f.Version)
		named = append(named, f.Name)
	}
	assert.Contains(t, named, "prefer-bigint-over-int")
	assert.Empty(t, p.Others)
	assert.Equal(t, "1", version(t, s))

	s.Files.(fstest.MapFS)["m/1_items.up.sql"].Data = []byte(items + ";")
	p, err = s.Plan(t.Context())
	require.ErrorIs(t, err, migrations.ErrEdited)
	require.Len(t, p.Others, 1, "and the plan comes with the refusal")
	assert.Equal(t, migrations.StateEdited, p.Others[0].State)
}

func TestUpBacksUpRehearsesAppliesAndTellsTheHistory(t *testing.T) {
	s, said := shop(t, "2_price.up.sql", "ALTER TABLE items ADD COLUMN price bigint")
	s.Release, s.Running, s.Actor = "v2", "v1", "somebody"
	servers := &counted{}
	s.Cluster, s.Scratch = servers, ""
	done, err := s.Up(t.Context(), true)
	require.NoError(t, err)
	assert.True(t, done.Backup.Proven)
	assert.EqualValues(t, 1, done.Backup.SchemaVersion)
	assert.FileExists(t, done.Backup.File)
	assert.Equal(t, rehearsal.Proven, done.Rehearsal.Verdict)
	assert.Equal(t, done.Backup.ID, done.Rehearsal.Backup.ID)
	assert.EqualValues(t, 2, done.Outcome.To)
	assert.Equal(t, "backing up, and restoring the backup to prove it", (*said)[0])

	m, err := s.Migrator()
	require.NoError(t, err)
	entries, err := m.History(t.Context())
	require.NoError(t, err)
	last := entries[len(entries)-1]
	assert.Equal(t, []string{"v2", "somebody", done.Backup.ID, done.Backup.ID}, []string{last.Release, last.Actor, last.BackupID, last.RehearsalID})
	assert.Zero(t, servers.open, "no copy is left")

	again, err := s.Up(t.Context(), true)
	require.NoError(t, err)
	assert.Nil(t, again.Backup, "with nothing to do there is nothing to back up")
	assert.Empty(t, again.Outcome.Applied)

	// The way back, which no file has: the rehearsal has tried the one that follows from the statements, and the history has it.
	back, err := s.Down(t.Context(), 1)
	require.NoError(t, err)
	assert.NotEqual(t, done.Backup.ID, back.Backup.ID)
	assert.EqualValues(t, 1, back.Outcome.To)
	assert.Equal(t, "lamp", pgtest.Value(t, s.URL, "SELECT name FROM items"))
	nothing, err := s.Down(t.Context(), 1)
	require.NoError(t, err)
	assert.Nil(t, nothing.Backup)
}

func TestUpDoesNotApplyWhatItsRehearsalRefuses(t *testing.T) {
	tests := map[string]struct {
		prepare, sql string
		refused      bool // by the rehearsal; it fails in it otherwise
		says         string
	}{
		"data that is changed and not declared": {sql: "UPDATE items SET name = 'a lamp'", refused: true, says: "values of column public.items.name changed"},
		"what the running release sends, as the server has recorded it": {
			prepare: "CREATE EXTENSION pg_stat_statements; SELECT id, name FROM items WHERE name = 'lamp'",
			sql:     "-- deploy: irreversible nobody wants it\nALTER TABLE items DROP COLUMN name", refused: true, says: "public.items.name"},
		"a statement that fails on the rows": {sql: "ALTER TABLE items ADD CHECK (id > 1)", says: "m/2_next.up.sql:1"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			s, _ := shop(t, "2_next.up.sql", test.sql)
			if test.prepare != "" {
				pgtest.Exec(t, s.URL, test.prepare)
			}
			done, err := s.Up(t.Context(), true)
			require.Error(t, err)
			assert.Equal(t, test.refused, errors.Is(err, database.ErrRefused))
			assert.Contains(t, err.Error(), test.says)
			assert.NotContains(t, err.Error(), "lamp")
			assert.True(t, done.Backup.Proven)
			assert.Empty(t, done.Outcome.Run)
			assert.Equal(t, "1", version(t, s))
			assert.Equal(t, "lamp", pgtest.Value(t, s.URL, "SELECT name FROM items"))
		})
	}
}

func TestRehearsalWithoutARecordSaysThatNothingIsKnown(t *testing.T) {
	forgetful := pgtest.Start(t, map[string]string{"shared_preload_libraries": ""})
	s, said := shopOn(t, forgetful.URL, "2_price.up.sql", "ALTER TABLE items ADD COLUMN price bigint")
	s.Dir = ""
	r, err := s.Rehearse(t.Context())
	require.NoError(t, err)
	assert.Equal(t, rehearsal.Proven, r.Verdict)
	assert.Empty(t, r.Backup.File, "nothing is kept where nothing is to be kept")
	assert.Nil(t, r.Backup.Copy, "the copy is used up")
	assert.Contains(t, strings.Join(*said, "\n"), "nothing is known of what the running release sends")
	assert.Equal(t, "1", version(t, s))
}

func TestDownThatHasNoWayBackMakesNoBackup(t *testing.T) {
	s, _ := shop(t, "2_gone.up.sql", "-- deploy: irreversible the rows are gone\nTRUNCATE items")
	_, err := s.Up(t.Context(), false)
	require.NoError(t, err)
	done, err := s.Down(t.Context(), history.NoVersion)
	require.ErrorContains(t, err, "the rows are gone")
	assert.Nil(t, done.Backup)
	assert.Equal(t, "2", version(t, s))
}

func TestBackupsAreKeptAsConfigured(t *testing.T) {
	s, said := shop(t)
	s.Config.Backup.Keep = 1
	first, err := s.Backup(t.Context(), false)
	require.NoError(t, err)
	second, err := s.Backup(t.Context(), true)
	require.NoError(t, err)
	assert.NoFileExists(t, first.File)
	assert.Contains(t, strings.Join(*said, "\n"), "removed backup "+first.ID)
	assert.Equal(t, "lamp", pgtest.Value(t, second.Copy.URL, "SELECT name FROM items"), "the copy that proved it is there")
	require.NoError(t, second.Copy.Close(t.Context()))

	servers := &counted{}
	s.Cluster, s.Scratch = servers, ""
	s.Config.Backup.Keep = 0 // as it is in no pipeline.yaml
	third, err := s.Backup(t.Context(), true)
	require.ErrorContains(t, err, "the policy keeps nothing")
	assert.True(t, third.Proven)
	assert.Nil(t, third.Copy, "who is given an error closes nothing")
	assert.Zero(t, servers.open)
}

// counted starts servers of this machine, and counts those that are not closed.
type counted struct{ open int }

func (c *counted) Start(ctx context.Context, like backup.Server) (backup.Scratch, error) {
	server, err := host.Cluster{}.Start(ctx, like)
	if err == nil {
		c.open++
	}
	return &countedServer{server, c}, err
}

type countedServer struct {
	backup.Scratch
	of *counted
}

func (s *countedServer) Close(ctx context.Context) error {
	s.of.open--
	return s.Scratch.Close(ctx)
}

// lossy loses rows on the way.
type lossy struct{ host.Dumper }

func (d lossy) Restore(ctx context.Context, url, file string, load backup.Load) error {
	if err := d.Dumper.Restore(ctx, url, file, load); err != nil {
		return err
	}
	conn, err := pg.Connect(ctx, url)
	if err != nil {
		return err
	}
	defer pg.HangUp(ctx, conn)
	_, err = conn.Exec(ctx, "DELETE FROM items")
	return err
}

func TestBackupThatIsNotProvenEndsTheStageAndSaysWhatItLacks(t *testing.T) {
	s, _ := shop(t, "2_price.up.sql", "ALTER TABLE items ADD COLUMN price bigint")
	s.Dumper = lossy{}
	done, err := s.Up(t.Context(), true)
	require.ErrorIs(t, err, backup.ErrNotProven)
	require.NotNil(t, done.Backup)
	assert.False(t, done.Backup.Proven)
	var failed []string
	for _, r := range done.Backup.Proof {
		if !r.OK && !r.Skipped {
			failed = append(failed, r.Name)
		}
	}
	assert.Equal(t, []string{"rows"}, failed)
	assert.Nil(t, done.Rehearsal)
	assert.Equal(t, "1", version(t, s))
}

// physical is a backup that somebody else makes.
type physical struct {
	backup.Adapter
	called []string
	fails  string
}

func (p *physical) Name() string { return "snapshots" }

func (p *physical) BackUp(_ context.Context, label string) (backup.Reference, error) {
	return backup.Reference{Adapter: "snapshots", ID: "s1", Label: label}, p.call("back up")
}

func (p *physical) Check(context.Context, backup.Reference) error { return p.call("check") }

func (p *physical) call(what string) error {
	if p.called = append(p.called, what); p.fails == what {
		return errors.New("no room")
	}
	return nil
}

func TestPhysicalBackupComesFirstAndItsFailureEndsTheStage(t *testing.T) {
	s, _ := shop(t, "2_price.up.sql", "ALTER TABLE items ADD COLUMN price bigint")
	for _, fails := range []string{"back up", "check"} {
		p := &physical{fails: fails}
		s.Physical = p
		_, err := s.Up(t.Context(), false)
		require.ErrorContains(t, err, "no room")
		require.ErrorContains(t, err, "physical backup")
		assert.Equal(t, fails, p.called[len(p.called)-1])
	}
	kept, err := os.ReadDir(s.Dir)
	require.NoError(t, err)
	assert.Empty(t, kept)
	assert.Equal(t, "1", version(t, s))
	s.Physical = &physical{}
	_, err = s.Up(t.Context(), false)
	require.NoError(t, err)
	assert.Equal(t, "2", version(t, s))
}
