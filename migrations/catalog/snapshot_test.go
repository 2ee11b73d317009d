package catalog

import (
	"bytes"
	"context"
	"encoding/json"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/metaextract/pipeline/internal/pgtest"
)

// kept is a snapshot written and read.
func kept(t testing.TB, s *Snapshot) *Snapshot {
	t.Helper()
	text, err := json.Marshal(s)
	require.NoError(t, err)
	var again Snapshot
	require.NoError(t, json.Unmarshal(text, &again))
	return &again
}

func TestSnapshotKeptInTheDatabaseEqualsTheOneThatWasWritten(t *testing.T) {
	address := pgtest.Database(t)
	pgtest.Exec(t, address, peculiar)
	conn := pgtest.Session(t, address)
	exec(t, conn, "CREATE TABLE deploy_catalog (snapshot jsonb)")
	s := read(t, conn)
	_, err := conn.Exec(context.Background(), "INSERT INTO deploy_catalog VALUES ($1)", s)
	require.NoError(t, err)
	var again Snapshot
	require.NoError(t, conn.QueryRow(context.Background(), "SELECT snapshot FROM deploy_catalog").Scan(&again))
	assert.Equal(t, s, &again)
	assert.Equal(t, s.SHA256(), again.SHA256())
}

func TestRestoredCopyHasTheSameSchema(t *testing.T) {
	address, restored := pgtest.Database(t), pgtest.Database(t)
	pgtest.Exec(t, address, peculiar)
	pgtest.Exec(t, address, "GRANT SELECT ON users TO PUBLIC; ALTER TABLE users OWNER TO pg_monitor; ALTER DEFAULT PRIVILEGES GRANT SELECT ON TABLES TO PUBLIC")
	dumper := pgtest.NewDumper(t)
	conn := pgtest.Session(t, address)
	exec(t, conn, "BEGIN ISOLATION LEVEL REPEATABLE READ")
	var snapshot string
	require.NoError(t, conn.QueryRow(context.Background(), "SELECT pg_export_snapshot()").Scan(&snapshot))
	var dump bytes.Buffer
	require.NoError(t, dumper.Dump(context.Background(), address, snapshot, &dump))
	require.NoError(t, dumper.Restore(context.Background(), restored, &dump))

	was, is := read(t, conn), schemaOf(t, restored)
	assert.Empty(t, lines(Compare(was.WithoutAccess(), is.WithoutAccess())))
	assert.Empty(t, Compare(was, is.WithoutAccess()), "one side is enough")
	assert.Contains(t, lines(Compare(was, is)), "grant on table public.users to PUBLIC removed: privileges SELECT", "the tool does not restore privileges")
	for _, kind := range []string{
		"schema", "table", "partitioned table", "view", "materialized view", "foreign table", "composite type", "sequence", "column", "constraint", "index", "statistics", "function", "procedure",
		"aggregate", "trigger", "rule", "policy", "event trigger", "enum", "domain", "range", "extension", "cast", "operator", "operator class", "collation", "text search configuration",
		"text search dictionary", "server", "publication", "grant", "default privileges",
	} {
		assert.Contains(t, kinds(was), kind)
	}
}

// kinds counts a snapshot's objects.
func kinds(s *Snapshot) map[string]int {
	count := map[string]int{}
	for _, o := range s.Objects {
		count[o.Kind]++
	}
	return count
}

func TestObjectsHaveNamesOfTheirOwn(t *testing.T) {
	address := pgtest.Database(t)
	pgtest.Exec(t, address, peculiar)
	s := schemaOf(t, address)
	assert.Len(t, index(s), len(s.Objects), "two of one name would hide each other")
	assert.IsIncreasing(t, names(s))
}

func names(s *Snapshot) []string {
	var list []string
	for _, o := range s.Objects {
		list = append(list, o.Kind+"\x00"+o.Name)
	}
	return list
}

func TestColumnsMadeAgainAreTheSameInAnotherOrder(t *testing.T) {
	address := pgtest.Database(t)
	pgtest.Exec(t, address, `CREATE TABLE t (id int, a int CHECK (a > 0), b text); CREATE INDEX ON t (a); CREATE TABLE u (a int, b int)`)
	up := schemaOf(t, address)
	pgtest.Exec(t, address, "ALTER TABLE t DROP a")
	down := schemaOf(t, address)
	pgtest.Exec(t, address, "ALTER TABLE t ADD a int CHECK (a > 0); CREATE INDEX ON t (a)")
	again := schemaOf(t, address)
	assert.NotEmpty(t, Compare(up, down))
	assert.Empty(t, Reordered(up, down), "what is left is in order")
	assert.Empty(t, Compare(up, again))
	assert.Equal(t, up.SHA256(), again.SHA256())
	assert.Equal(t, []string{"public.t"}, Reordered(up, again))
	assert.Equal(t, []string{"public.t"}, Reordered(again, up))
}
