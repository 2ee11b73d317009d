package pg_test

import (
	"context"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/metaextract/pipeline/internal/pg"
	"github.com/metaextract/pipeline/internal/pgtest"
)

func TestMain(m *testing.M) { pgtest.Main(m) }

func scratchDatabases(t testing.TB) string {
	return pgtest.Value(t, pgtest.Server(t), `SELECT count(*) FROM pg_database WHERE datname LIKE 'pipeline\_scratch\_%'`)
}

func TestScratchDatabasesOfKilledProcessesAreDropped(t *testing.T) {
	server := pgtest.Server(t)
	pgtest.Exec(t, server, "CREATE DATABASE pipeline_scratch_left")
	alive, err := pg.NewScratch(context.Background(), server, pg.Locale{Encoding: "UTF8", Collate: "C", Ctype: "C"})
	require.NoError(t, err)
	assert.Equal(t, alive.Name, pgtest.Value(t, server, `SELECT string_agg(datname, ',') FROM pg_database WHERE datname LIKE 'pipeline\_scratch\_%'`))
	second, err := pg.NewScratch(context.Background(), server, pg.Locale{Encoding: "UTF8", Collate: "C", Ctype: "C"})
	require.NoError(t, err)
	assert.Equal(t, "2", scratchDatabases(t), "one that is in use stays")
	require.NoError(t, second.Drop(context.Background()))
	require.NoError(t, alive.Drop(context.Background()))
	assert.Equal(t, "0", scratchDatabases(t))
}
