package checksum

import (
	"context"
	"fmt"
	"net/url"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/metaextract/pipeline/internal/pgtest"
)

func TestMain(m *testing.M) { pgtest.Main(m) }

// session is one that is prepared.
func session(t testing.TB, address string) *pgx.Conn {
	t.Helper()
	conn := pgtest.Session(t, address)
	_, err := conn.Exec(context.Background(), Session, pgtest.Simply)
	require.NoError(t, err)
	return conn
}

func TestTablesCountsWhatABackupHolds(t *testing.T) {
	address := pgtest.Database(t)
	pgtest.Exec(t, address, `
		CREATE EXTENSION hstore; CREATE TABLE of_extension (a int); ALTER EXTENSION hstore ADD TABLE of_extension;
		CREATE SCHEMA "Odd ""Schema"; CREATE TABLE "Odd ""Schema"."t" ("t" int, "T" text, "$1" int, "a.b" int, """" int); INSERT INTO "Odd ""Schema"."t" VALUES (1);
		CREATE TABLE nothing (); INSERT INTO nothing DEFAULT VALUES;
		CREATE TABLE parent (id int) PARTITION BY RANGE (id); CREATE TABLE child PARTITION OF parent FOR VALUES FROM (0) TO (10) PARTITION BY LIST (id);
		CREATE TABLE grandchild PARTITION OF child DEFAULT; INSERT INTO parent VALUES (3), (4);
		CREATE TABLE empty (id int) PARTITION BY RANGE (id);
		CREATE TABLE ancestor (l text); CREATE TABLE heir () INHERITS (ancestor); INSERT INTO heir VALUES ('x'), ('y'), ('z');
		CREATE UNLOGGED TABLE unlogged (); CREATE MATERIALIZED VIEW computed AS SELECT 1; CREATE VIEW v AS SELECT 1;
		CREATE TABLE generated (a int, b int GENERATED ALWAYS AS (a * 2) STORED, c bigint GENERATED ALWAYS AS IDENTITY); INSERT INTO generated VALUES (1);
		CREATE TABLE public.text (a int); CREATE FUNCTION public.concat(text) RETURNS text LANGUAGE sql AS 'SELECT NULL'`)
	conn := session(t, address)
	_, err := conn.Exec(context.Background(), "CREATE TEMP TABLE mine (a int)")
	require.NoError(t, err)
	tables, err := Tables(context.Background(), conn)
	require.NoError(t, err)
	var got []string
	for _, table := range tables {
		got = append(got, fmt.Sprintf("%s %d", table.Table, table.Rows))
	}
	assert.Equal(t, []string{
		`Odd "Schema.t 1`, "public.ancestor 0", "public.generated 1", "public.grandchild 2", "public.heir 3", "public.nothing 1", "public.text 0", "public.unlogged 0",
	}, got)
}

func TestSeveralSessionsOfOneSnapshotSumTheSameAsOne(t *testing.T) {
	address := pgtest.Database(t)
	for i := range 20 {
		pgtest.Exec(t, address, fmt.Sprintf("CREATE TABLE t%d AS SELECT g FROM generate_series(1, %d) g", i, i))
	}
	one, err := Tables(context.Background(), session(t, address))
	require.NoError(t, err)
	several, err := Tables(context.Background(), session(t, address), session(t, address), session(t, address))
	require.NoError(t, err)
	assert.Len(t, one, 20)
	assert.Equal(t, one, several)
}

func TestRowsThatAreHiddenAreAnErrorOnAnySession(t *testing.T) {
	address := pgtest.Database(t)
	u, err := url.Parse(address)
	require.NoError(t, err)
	role := "reader_" + strings.TrimPrefix(u.Path, "/")
	pgtest.Exec(t, address, `CREATE TABLE t (id int); INSERT INTO t VALUES (1); ALTER TABLE t ENABLE ROW LEVEL SECURITY;
		CREATE ROLE `+role+` LOGIN PASSWORD '`+pgtest.Password+`'; GRANT SELECT ON t TO `+role)
	t.Cleanup(func() { pgtest.Exec(t, pgtest.Server(t), "DROP ROLE "+role) })
	t.Cleanup(func() { pgtest.Exec(t, address, "DROP OWNED BY "+role) })
	u.User = url.UserPassword(role, pgtest.Password)
	_, err = Tables(context.Background(), session(t, u.String()), session(t, u.String()))
	require.ErrorContains(t, err, "count table public.t")
	require.ErrorContains(t, err, "row-level security")
}

func TestCountingEndsWithItsContext(t *testing.T) {
	address := pgtest.Database(t)
	pgtest.Exec(t, address, "CREATE TABLE t (id int)")
	blocker := pgtest.Session(t, address)
	_, err := blocker.Exec(context.Background(), "BEGIN; LOCK TABLE t", pgtest.Simply)
	require.NoError(t, err)
	ctx, cancel := context.WithCancelCause(context.Background())
	ended := make(chan error, 1)
	conn := session(t, address)
	go func() {
		_, err := Tables(ctx, conn)
		ended <- err
	}()
	pgtest.Eventually(t, address, "EXISTS (SELECT FROM pg_locks WHERE NOT granted AND database = (SELECT oid FROM pg_database WHERE datname = current_database()))")
	cancel(assert.AnError)
	require.ErrorIs(t, <-ended, assert.AnError)
}

func TestCompareSaysHowARestoredCopyDiffers(t *testing.T) {
	a, b := Table{"public.a", 2, "17"}, Table{"public.b", 3, "-4"}
	tests := []struct {
		name               string
		original, restored []Table
		want               []string
	}{
		{"not at all", []Table{a, b}, []Table{b, a}, nil},
		{"a table is missing", []Table{a, b}, []Table{b}, []string{"table public.a is missing"}},
		{"there is one too many", []Table{a}, []Table{a, b}, []string{"table public.b was not in the database"}},
		{"rows are missing", []Table{a}, []Table{{"public.a", 1, "17"}}, []string{"table public.a has 1 rows instead of 2"}},
		{"rows differ", []Table{a}, []Table{{"public.a", 2, "18"}}, []string{"table public.a has 2 rows as it should, but not the same ones"}},
		{"all of it", []Table{a}, []Table{b}, []string{"table public.a is missing", "table public.b was not in the database"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) { assert.Equal(t, tt.want, Compare(tt.original, tt.restored)) })
	}
}
