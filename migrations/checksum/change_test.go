package checksum

import (
	"context"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/metaextract/pipeline/internal/pg"
	"github.com/metaextract/pipeline/internal/pgtest"
)

// copyOf makes a database with the same content.
func copyOf(t testing.TB, address string) string {
	t.Helper()
	name := address[strings.LastIndex(address, "/")+1:]
	name, _, _ = strings.Cut(name, "?")
	other := name + "_copy"
	pgtest.Exec(t, pgtest.Server(t), "CREATE DATABASE "+pg.Name(other)+" TEMPLATE "+pg.Name(name))
	t.Cleanup(func() { pgtest.Exec(t, pgtest.Server(t), "DROP DATABASE "+pg.Name(other)+" WITH (FORCE)") })
	address, err := pg.OnDatabase(address, other)
	require.NoError(t, err)
	return address
}

func TestChangesNameWhatAMigrationDidToTheData(t *testing.T) {
	const setup = `
		CREATE TYPE mood AS ENUM ('sad', 'ok');
		CREATE TABLE users (id int PRIMARY KEY, name varchar(50), email text, age int, price numeric(10,2), at timestamp, m mood, doc json, code char(4), w real);
		INSERT INTO users SELECT g, 'n' || g, 'e' || g, nullif(g, 3), g / 2.0, now(), 'ok', '{"a": 1}', 'c' || g, g / 3.0 FROM generate_series(1, 10) g;
		CREATE TABLE loose (a int, b text, c text); INSERT INTO loose VALUES (1, 'x', 'p'), (2, 'y', 'q');
		CREATE TABLE pairs (a int, b int, c text, PRIMARY KEY (a, b)); INSERT INTO pairs VALUES (1, 2, 'x'), (3, 4, 'y');
		CREATE TABLE big (id int, v text) PARTITION BY RANGE (id); CREATE TABLE big_0 PARTITION OF big FOR VALUES FROM (0) TO (10); CREATE TABLE big_rest PARTITION OF big DEFAULT;
		INSERT INTO big SELECT g, 'v' FROM generate_series(1, 20) g;
		CREATE TABLE apart (id int, v text); INSERT INTO apart SELECT g, 'v' FROM generate_series(101, 110) g;
		CREATE TABLE plain (id int); INSERT INTO plain VALUES (1), (2);
		CREATE SCHEMA "Odd ""Schema"; CREATE TABLE "Odd ""Schema"."a.b" ("C" int); INSERT INTO "Odd ""Schema"."a.b" VALUES (1);
		CREATE TABLE deploy_migrations (id int); CREATE TABLE schema_migrations (version bigint, dirty boolean)`
	tests := []struct {
		name, migration string
		want            []string
	}{
		{"nothing", "SELECT 1", nil},
		{"what is new is no change", "CREATE TABLE more AS SELECT 1; ALTER TABLE users ADD COLUMN extra int DEFAULT 7", nil},
		{"a table that is written anew is the same", "CREATE INDEX ON users (name); CLUSTER users USING users_pkey; UPDATE users SET name = name", nil},
		{"the pipeline's own tables are no data", "INSERT INTO deploy_migrations VALUES (1); INSERT INTO schema_migrations VALUES (1, false)", nil},
		{"rows are added", "INSERT INTO plain VALUES (3)", []string{"table public.plain had 2 rows and has 3"}},
		{"rows are removed", "DELETE FROM users WHERE id > 4", []string{"table public.users had 10 rows and has 4"}},
		{"a table is removed", "DROP TABLE plain", []string{"table public.plain with 2 rows is gone"}},
		{"a table is renamed", "ALTER TABLE plain RENAME TO simple", []string{"table public.plain with 2 rows is gone"}},
		{"a column is removed", "ALTER TABLE users DROP COLUMN age", []string{"column public.users.age with 9 values is gone"}},
		{"a column is removed and another is changed", "ALTER TABLE users DROP COLUMN age; UPDATE users SET email = lower(name) WHERE id = 1",
			[]string{"column public.users.age with 9 values is gone", "values of column public.users.email changed (10 before, 10 now)"}},
		{"a column is removed and made again", "ALTER TABLE users DROP COLUMN age; ALTER TABLE users ADD COLUMN age int", []string{"values of column public.users.age changed (9 before, 0 now)"}},
		{"one value is changed", "UPDATE users SET email = NULL WHERE id = 7", []string{"values of column public.users.email changed (10 before, 9 now)"}},
		{"two columns are changed", "UPDATE users SET age = 1, m = 'sad' WHERE id = 7", []string{"values of column public.users.age changed (9 before, 9 now)", "values of column public.users.m changed (10 before, 10 now)"}},
		{"rows exchange the values of one column", "UPDATE users SET email = CASE id WHEN 1 THEN 'e2' ELSE 'e1' END WHERE id IN (1, 2)", []string{"values of column public.users.email changed (10 before, 10 now)"}},
		{"rows exchange values of one column while another is changed", "UPDATE users SET email = CASE id WHEN 1 THEN 'e2' ELSE 'e1' END, name = 'same' WHERE id IN (1, 2)",
			[]string{"values of column public.users.email changed (10 before, 10 now)", "values of column public.users.name changed (10 before, 10 now)"}},
		{"rows get other keys", "UPDATE users SET id = id + 100", []string{"values of column public.users.id changed (10 before, 10 now)"}},
		{"rows exchange their keys", "UPDATE users SET id = -1 WHERE id = 1; UPDATE users SET id = 1 WHERE id = 2; UPDATE users SET id = 2 WHERE id = -1", []string{
			"values of column public.users.age changed (9 before, 9 now)", "values of column public.users.code changed (10 before, 10 now)", "values of column public.users.email changed (10 before, 10 now)",
			"values of column public.users.name changed (10 before, 10 now)", "values of column public.users.price changed (10 before, 10 now)", "values of column public.users.w changed (10 before, 10 now)"}},
		{"rows without a key exchange values", "UPDATE loose SET b = CASE b WHEN 'x' THEN 'y' ELSE 'x' END", []string{"the 2 rows of table public.loose exchanged values"}},
		{"rows without a key exchange values while a column is changed", "UPDATE loose SET b = CASE b WHEN 'x' THEN 'y' ELSE 'x' END, c = 'new'",
			[]string{"values of column public.loose.c changed (2 before, 2 now)", "the 2 rows of table public.loose exchanged values"}},
		{"the columns of a key exchange values", "UPDATE pairs SET b = 6 - b", []string{"the 2 rows of table public.pairs exchanged values"}},
		{"types become wider", `ALTER TABLE users ALTER age TYPE bigint, ALTER id TYPE bigint, ALTER name TYPE text, ALTER price TYPE numeric(12,4), ALTER m TYPE text, ALTER code TYPE text,
			ALTER doc TYPE jsonb, ALTER w TYPE float8`, nil},
		{"a timestamp becomes a moment", "SET LOCAL timezone = 'UTC'; ALTER TABLE users ALTER at TYPE timestamptz", nil},
		{"a timestamp becomes a moment in another zone", "SET LOCAL timezone = 'Asia/Kathmandu'; ALTER TABLE users ALTER at TYPE timestamptz",
			[]string{"column public.users.at has another type, and its values are not what they were (10 before, 10 now)"}},
		{"a type becomes narrower and rounds", "ALTER TABLE users ALTER price TYPE numeric(10,0)",
			[]string{"column public.users.price has another type, and its values are not what they were (10 before, 10 now)"}},
		{"a type becomes a domain over itself", "CREATE DOMAIN age AS int CHECK (value > 0); ALTER TABLE users ALTER age TYPE age", nil},
		{"rows move between partitions", "CREATE TABLE big_1 (LIKE big); WITH moved AS (DELETE FROM big_rest RETURNING *) INSERT INTO big_1 SELECT * FROM moved; ALTER TABLE big ATTACH PARTITION big_1 FOR VALUES FROM (10) TO (30)", nil},
		{"a table becomes a partition", "ALTER TABLE big ATTACH PARTITION apart FOR VALUES FROM (100) TO (200)", nil},
		{"a table becomes a partition and loses rows", "ALTER TABLE big ATTACH PARTITION apart FOR VALUES FROM (100) TO (200); DELETE FROM apart WHERE id > 105", []string{"table public.big had 30 rows and has 25"}},
		{"a partition becomes a table", "ALTER TABLE big DETACH PARTITION big_0", nil},
		{"a partition becomes a table and its rows are changed", "ALTER TABLE big DETACH PARTITION big_0; UPDATE big_0 SET v = 'w'", []string{"values of column public.big.v changed (20 before, 20 now)"}},
		{"a partition is removed", "DROP TABLE big_0", []string{"table public.big had 20 rows and has 11"}},
		{"a value in a partition is changed", "UPDATE big SET v = 'w' WHERE id = 15", []string{"values of column public.big.v changed (20 before, 20 now)"}},
		{"a table becomes partitioned", "ALTER TABLE plain RENAME TO old; CREATE TABLE plain (id int) PARTITION BY HASH (id); CREATE TABLE plain_0 PARTITION OF plain FOR VALUES WITH (modulus 1, remainder 0); INSERT INTO plain SELECT * FROM old; DROP TABLE old", nil},
		{"columns come in another order", "ALTER TABLE loose ADD COLUMN a2 int; UPDATE loose SET a2 = a; ALTER TABLE loose DROP COLUMN a; ALTER TABLE loose RENAME a2 TO a", nil},
		{"odd names", `UPDATE "Odd ""Schema"."a.b" SET "C" = 2`, []string{`values of column Odd "Schema.a.b.C changed (1 before, 1 now)`}},
	}
	before := pgtest.Database(t)
	pgtest.Exec(t, before, setup)
	after := copyOf(t, before)
	one, other := session(t, before), session(t, after)
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			exec := func(sql string) {
				_, err := other.Exec(context.Background(), sql, pgtest.Simply)
				require.NoError(t, err)
			}
			exec("BEGIN; SET LOCAL search_path = public; " + tt.migration + "; SET LOCAL timezone = 'UTC'; SET LOCAL search_path = pg_catalog")
			defer exec("ROLLBACK")
			changes, err := NewOriginal(one).Changes(context.Background(), other)
			require.NoError(t, err)
			var got []string
			for _, c := range changes {
				got = append(got, c.String())
			}
			assert.Equal(t, tt.want, got)
		})
	}
}

func TestChangesEndWithTheirContext(t *testing.T) {
	before := pgtest.Database(t)
	pgtest.Exec(t, before, "CREATE TABLE t (id int)")
	after := copyOf(t, before)
	blocker := pgtest.Session(t, after)
	_, err := blocker.Exec(context.Background(), "BEGIN; LOCK TABLE t", pgtest.Simply)
	require.NoError(t, err)
	ctx, cancel := context.WithCancelCause(context.Background())
	ended := make(chan error, 1)
	one, other := session(t, before), session(t, after)
	go func() {
		_, err := NewOriginal(one).Changes(ctx, other)
		ended <- err
	}()
	pgtest.Eventually(t, after, "EXISTS (SELECT FROM pg_locks WHERE NOT granted AND database = (SELECT oid FROM pg_database WHERE datname = current_database()))")
	cancel(assert.AnError)
	require.ErrorIs(t, <-ended, assert.AnError)
}

func TestOriginalIsReadOnce(t *testing.T) {
	address := pgtest.Database(t)
	pgtest.Exec(t, address, "CREATE TABLE users (id int PRIMARY KEY, name text); INSERT INTO users SELECT g, 'n' || g FROM generate_series(1, 10) g")
	migrated := copyOf(t, address)
	one, other := pgtest.Session(t, address), pgtest.Session(t, migrated)
	for _, conn := range []*pgx.Conn{one, other} {
		_, err := conn.Exec(context.Background(), Session, pgtest.Simply)
		require.NoError(t, err)
	}
	original := NewOriginal(one)
	changes, err := original.Changes(context.Background(), other)
	require.NoError(t, err)
	assert.Empty(t, changes)
	pgtest.Exec(t, migrated, "DELETE FROM users WHERE id = 1")
	pgtest.Exec(t, address, "DELETE FROM users WHERE id <= 2") // against the rule: what was read before would not say so
	changes, err = original.Changes(context.Background(), other)
	require.NoError(t, err)
	require.Len(t, changes, 1)
	assert.Equal(t, "table public.users had 10 rows and has 9", changes[0].String())
}
