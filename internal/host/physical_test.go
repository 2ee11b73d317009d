package host

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/metaextract/pipeline/internal/process"
	"github.com/metaextract/pipeline/migrations/backup"
)

// rest is pgBackRest with a repository and a server of its own.
type rest struct {
	PgBackRest
	dir    string
	server *Postgres
	as     *process.Credential
}

func startRest(t *testing.T) *rest {
	if _, err := process.LookPath("pgbackrest", "", os.Environ()); err != nil {
		t.Skip("pgbackrest is not installed: apt-get install pgbackrest")
	}
	r := &rest{dir: shortDir(t)}
	r.Stanza, r.Config, r.Type = "main", filepath.Join(r.dir, "conf"), "full"
	r.server = startPostgres(t, PostgresOptions{Settings: map[string]string{
		"wal_level": "replica", "archive_mode": "on", "archive_command": "pgbackrest --config=" + r.Config + " --stanza=main archive-push %p",
	}})
	if r.as = r.server.bin.user; r.as != nil {
		r.User = "postgres"
	}
	own := func(dir string) string {
		dir = filepath.Join(r.dir, dir)
		require.NoError(t, os.Mkdir(dir, 0o700))
		if r.as != nil {
			require.NoError(t, os.Chown(dir, int(r.as.UID), int(r.as.GID)))
		}
		return dir
	}
	require.NoError(t, os.WriteFile(r.Config, fmt.Appendf(nil, `[global]
repo1-path=%s
repo1-retention-full=9
log-path=%[1]s
lock-path=%[2]s
spool-path=%[2]s
log-level-file=off
[main]
pg1-path=%[3]s
pg1-port=%[4]d
pg1-socket-path=%[5]s
pg1-user=postgres
`, own("repo"), own("spool"), filepath.Join(r.server.dir, "data"), r.server.port, r.server.sockets), 0o644))
	own("restored")
	_, err := r.run(bounded(t), "stanza-create")
	require.NoError(t, err)
	return r
}

// recovered starts a server in a restored data directory and returns the URL of a database, once it has recovered.
func (r *rest) recovered(t *testing.T, dir, database string) string {
	s := *r.server
	s.dir = shortDir(t)
	require.NoError(t, os.Symlink(dir, filepath.Join(s.dir, "data")))
	s.sockets = s.dir
	require.NoError(t, os.Chmod(s.dir, 0o777))
	var err error
	s.port, err = process.FreePort("127.0.0.1")
	require.NoError(t, err)
	require.NoError(t, s.serve(map[string]string{"archive_mode": "off"}))
	t.Cleanup(func() { _ = s.process.Stop(bounded(t), patience) })
	address := fmt.Sprintf("host=%s port=%d user=postgres dbname=%s sslmode=disable", s.sockets, s.port, database)
	require.Eventually(t, func() bool {
		conn, err := pgx.Connect(bounded(t), address)
		if err != nil {
			return false
		}
		defer conn.Close(bounded(t))
		var recovering bool
		return conn.QueryRow(bounded(t), "SELECT pg_is_in_recovery()").Scan(&recovering) == nil && !recovering
	}, patience, readyInterval, s.logTail())
	return address
}

func TestPgBackRestBacksUpAndRestores(t *testing.T) {
	r := startRest(t)
	from, err := r.server.CreateDatabase(bounded(t), "app")
	require.NoError(t, err)
	execute(t, from, "CREATE TABLE t AS SELECT g AS id, md5(g::text) AS v FROM generate_series(1, 1000) g")
	var a backup.Adapter = r
	ref, err := a.BackUp(bounded(t), "pre_migration_12")
	require.NoError(t, err)
	assert.Regexp(t, `^\d{8}-\d{6}F$`, ref.ID)
	assert.Equal(t, "pgbackrest "+ref.ID, ref.String())
	assert.False(t, ref.At.IsZero())
	require.NoError(t, a.Check(bounded(t), ref))

	// What was written after the backup comes back up to the restore point, from the archive.
	execute(t, from, "INSERT INTO t SELECT g, 'later' FROM generate_series(1001, 1500) g", "SELECT pg_create_restore_point('pre_migration_12')",
		"DELETE FROM t", "SELECT pg_switch_wal()")
	const archived = "SELECT count(*) FROM pg_stat_archiver WHERE last_archived_wal >= pg_walfile_name(pg_current_wal_lsn() - 1)"
	require.Eventually(t, func() bool { return query[int64](t, from, archived) == 1 }, patience, readyInterval)
	place := filepath.Join(r.dir, "restored")
	require.NoError(t, a.Restore(bounded(t), ref, backup.Target{Place: place, Point: "pre_migration_12"}))
	restored := r.recovered(t, place, "app")
	assert.Equal(t, int64(1500), query[int64](t, restored, "SELECT count(*) FROM t"))
	assert.Equal(t, int64(0), query[int64](t, from, "SELECT count(*) FROM t"))
	assert.ErrorContains(t, a.Restore(bounded(t), ref, backup.Target{Place: place}), "PostgreSQL is running", "not over what is there")

	other := ref
	other.ID = "20200101-000000F"
	assert.ErrorIs(t, a.Check(bounded(t), other), backup.ErrNotProven)
	files, err := filepath.Glob(filepath.Join(r.dir, "repo/backup/main", ref.ID, "pg_data/PG_VERSION*"))
	require.NoError(t, err)
	require.Len(t, files, 1)
	require.NoError(t, os.Truncate(files[0], 1))
	err = a.Check(bounded(t), ref)
	require.ErrorIs(t, err, backup.ErrNotProven)
	assert.ErrorContains(t, err, "status: invalid")
	_, err = a.BackUp(bounded(t), "--type=full")
	assert.ErrorContains(t, err, "no word that a command line takes")
}

// scripted writes a script for a Command.
func scripted(t *testing.T, script string) string {
	file := filepath.Join(t.TempDir(), "tool")
	require.NoError(t, os.WriteFile(file, []byte("#!/bin/sh\nset -eu\n"+script), 0o755))
	return file
}

func TestCommandsBackUpAndRestore(t *testing.T) {
	dir := t.TempDir()
	t.Setenv("STORE_SECRET_KEY", "hunter2hunter2")
	tool := scripted(t, `
store=`+dir+`
case $1 in
push) echo "content of $2" > $store/base_$2; echo "INFO: begin"; echo "INFO: Wrote backup with name base_$2" ;;
check) test -s $store/$2 || { echo "no $2, with $STORE_SECRET_KEY" >&2; exit 4; } ;;
fetch) test "$#" = 4; cp $store/$3 "$2"; echo "up to $4" >> "$2" ;;
esac`)
	c, err := NewCommand(CommandOptions{
		Name: "wal-g", Make: []string{tool, "push", "{label}"}, Check: []string{tool, "check", "{reference}"},
		Load: []string{tool, "fetch", "{target}", "{reference}", "{point}"}, Reference: `Wrote backup with name (?P<reference>\S+)`,
	})
	require.NoError(t, err)
	var a backup.Adapter = c
	ref, err := a.BackUp(bounded(t), "v12")
	require.NoError(t, err)
	assert.Equal(t, "base_v12", ref.ID)
	require.NoError(t, a.Check(bounded(t), ref))
	place := filepath.Join(dir, "place")
	require.NoError(t, a.Restore(bounded(t), ref, backup.Target{Place: place, Point: "pre_migration_12"}))
	text, err := os.ReadFile(place)
	require.NoError(t, err)
	assert.Equal(t, "content of v12\nup to pre_migration_12\n", string(text))

	ref.ID = "base_v13"
	err = a.Check(bounded(t), ref)
	require.ErrorContains(t, err, "exit code 4: no base_v13, with ***")
	assert.NotContains(t, err.Error(), "hunter2")
	for _, evil := range []string{"--help", "a b", "$(date)", "", "a\nb"} {
		_, err := a.BackUp(bounded(t), evil)
		if evil != "" {
			assert.ErrorContains(t, err, "no word that a command line takes", evil)
		}
	}
	assert.Error(t, a.Restore(bounded(t), ref, backup.Target{Place: "--delete"}))
}

func TestCommandsThatAreWrong(t *testing.T) {
	for _, test := range []struct {
		name    string
		options CommandOptions
		says    string
	}{
		{"no command", CommandOptions{Name: "x"}, "a command line that makes a backup"},
		{"an unknown placeholder", CommandOptions{Name: "x", Make: []string{"tool", "--id={id}"}}, "has the placeholder {id}, and knows {label}"},
		{"a placeholder too early", CommandOptions{Name: "x", Make: []string{"tool", "{reference}"}}, "has the placeholder {reference}"},
		{"a program that is a placeholder", CommandOptions{Name: "x", Make: []string{"{label}"}}, "can be an argument only"},
		{"a broken expression", CommandOptions{Name: "x", Make: []string{"tool"}, Reference: "("}, "missing closing"},
		{"an expression without the group", CommandOptions{Name: "x", Make: []string{"tool"}, Reference: "(.*)"}, "(?P<reference>…)"},
	} {
		t.Run(test.name, func(t *testing.T) {
			_, err := NewCommand(test.options)
			assert.ErrorContains(t, err, test.says)
		})
	}
	c, err := NewCommand(CommandOptions{Name: "snapshots", Make: []string{scripted(t, "echo none")}, Load: []string{"true", "{target}"}})
	require.NoError(t, err)
	ref, err := c.BackUp(bounded(t), "label")
	require.NoError(t, err)
	assert.Equal(t, "label", ref.ID, "without an expression the label is the name")
	assert.ErrorIs(t, c.Check(bounded(t), ref), errors.ErrUnsupported)
	assert.ErrorContains(t, c.Restore(bounded(t), ref, backup.Target{Place: "x", Point: "p"}), "write {point} into it")
	c, err = NewCommand(CommandOptions{Name: "x", Make: []string{scripted(t, "echo nothing of the kind")}, Reference: "name (?P<reference>.*)"})
	require.NoError(t, err)
	_, err = c.BackUp(bounded(t), "label")
	assert.ErrorContains(t, err, "nothing that it printed matches")
	c, err = NewCommand(CommandOptions{Name: "x", Make: []string{"no-such-program-at-all"}})
	require.NoError(t, err)
	_, err = c.BackUp(bounded(t), "label")
	assert.ErrorContains(t, err, "no-such-program-at-all is not on PATH")
	assert.False(t, strings.Contains(err.Error(), "guard"))
}
