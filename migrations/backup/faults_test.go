package backup

import (
	"context"
	"errors"
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/metaextract/pipeline/internal/pgtest"
)

func TestServerThatEndsWhileItIsDumped(t *testing.T) {
	server := pgtest.Start(t, nil)
	address := server.URL
	pgtest.Exec(t, address, incompressible)
	o := options(t, address)
	o.Dir = t.TempDir()
	o.Dumper = tools{TB: t, dumping: server.Stop}
	_, err := Make(context.Background(), o)
	require.Error(t, err)
	assert.NotContains(t, err.Error(), pgtest.Password)
	assert.NotErrorIs(t, err, ErrNotProven)
	assert.Empty(t, inDirectory(t, o.Dir))
	assert.Empty(t, inDirectory(t, o.Temp))
	assert.Equal(t, "0", scratchDatabases(t))
}

func TestServerOfTheCopyThatEndsWhileItIsRestored(t *testing.T) {
	address := pgtest.Database(t)
	pgtest.Exec(t, address, incompressible)
	o := options(t, address)
	var server *pgtest.Cluster
	o.Scratch, o.Cluster = "", starter(func(settings map[string]string) Scratch {
		server = pgtest.Start(t, settings)
		return cluster{server}
	})
	o.Dir, o.Dumper = t.TempDir(), tools{TB: t, loading: func(string) { server.Stop() }}
	backup, err := Make(context.Background(), o)
	require.ErrorContains(t, err, "which says nothing of the backup")
	assert.NotErrorIs(t, err, ErrNotProven)
	assert.False(t, backup.Proven)
	assert.FileExists(t, backup.File)
}

// starter is a Cluster of one function, and of none.
type starter func(map[string]string) Scratch

func (s starter) Start(_ context.Context, like Server) (Scratch, error) {
	if s == nil {
		return nil, errors.New("no PostgreSQL on this machine")
	}
	return s(like.Settings), nil
}

func TestServerForTheCopyThatCannotBeStarted(t *testing.T) {
	address := pgtest.Database(t)
	o := options(t, address)
	o.Dir, o.Scratch, o.Cluster = t.TempDir(), "", starter(nil)
	backup, err := Make(context.Background(), o)
	require.ErrorContains(t, err, "no PostgreSQL on this machine")
	assert.Equal(t, []string{"tool", "server failed"}, names(backup.Proof), "and nothing is dumped that cannot be proven")
	assert.Empty(t, inDirectory(t, o.Dir))
}

func TestDirectoryThatCannotBeWritten(t *testing.T) {
	address := pgtest.Database(t)
	o := options(t, address)
	o.Dir = strings.TrimSuffix(t.TempDir(), "/") + "/file"
	require.NoError(t, os.WriteFile(o.Dir, nil, 0o600))
	_, err := Make(context.Background(), o)
	assert.ErrorContains(t, err, "make directory for backups")
	o.Temp = o.Dir
	_, err = Make(context.Background(), o)
	assert.ErrorContains(t, err, "make directory for the proof")
}

func TestDumpAsOneOfSeveralAdapters(t *testing.T) {
	address := pgtest.Database(t)
	pgtest.Exec(t, address, "CREATE TABLE t AS SELECT 1 AS a")
	o := options(t, address)
	o.Dir = t.TempDir()
	var a Adapter = Logical{Options: o}
	r, err := a.BackUp(context.Background(), "before 12")
	require.NoError(t, err)
	assert.Equal(t, "dump "+r.ID, r.String())
	require.NoError(t, a.Check(context.Background(), r))
	dropped(t, name(address)+"_back")
	require.NoError(t, a.Restore(context.Background(), r, Target{Place: name(address) + "_back"}))
	var n int
	require.NoError(t, connect(t, address, name(address)+"_back").QueryRow(context.Background(), "SELECT a FROM t").Scan(&n))
	assert.Equal(t, 1, n)
	assert.ErrorContains(t, a.Restore(context.Background(), r, Target{Place: "x", Point: "p"}), "a dump is of one moment")
	list, err := List(o.Dir)
	require.NoError(t, err)
	assert.Equal(t, "before 12", list[0].Label)
	body, err := os.ReadFile(r.ID)
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(r.ID, body[:100], 0o600))
	assert.ErrorIs(t, a.Check(context.Background(), r), ErrNotProven)
}
