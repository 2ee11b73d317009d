package backup

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/metaextract/pipeline/internal/pgtest"
)

// peculiar is a database with what makes comparing rows hard.
const peculiar = `
	CREATE EXTENSION hstore;
	CREATE SCHEMA "Odd ""Schema";
	CREATE TYPE mood AS ENUM ('sad', 'ok');
	CREATE TABLE extractions (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, name text, tags jsonb, raw json, x xml,
		f double precision, r real, b bytea, at timestamptz, span interval, price money, m mood, h hstore,
		twice int GENERATED ALWAYS AS (length(name) * 2) STORED, dropped int);
	ALTER TABLE extractions DROP COLUMN dropped;
	INSERT INTO extractions (name, tags, raw, x, f, r, b, at, span, price, m, h)
		SELECT 'näme ' || g, jsonb_build_object('k', g), '{"a":  1}', '<a/>', random(), random(), decode(md5(g::text), 'hex'),
			now() + g * interval '1 hour', g * interval '1 day 1 second', g, 'ok', hstore('k', g::text) FROM generate_series(1, 2000) g;
	CREATE TABLE "Odd ""Schema"."counted" (counted int, "t" text);
	INSERT INTO "Odd ""Schema"."counted" VALUES (1, 'a'), (1, 'a'), (NULL, NULL);
	CREATE TABLE nothing ();
	INSERT INTO nothing DEFAULT VALUES;
	CREATE TABLE parent (id int) PARTITION BY RANGE (id);
	CREATE TABLE child PARTITION OF parent FOR VALUES FROM (0) TO (10);
	INSERT INTO parent VALUES (3), (4);
	CREATE MATERIALIZED VIEW latest AS SELECT max(at) FROM extractions;
	CREATE TABLE parts (l text) ; CREATE TABLE heirs () INHERITS (parts); INSERT INTO heirs VALUES ('x');`

func TestBackupIsProvenByRestoringIt(t *testing.T) {
	address := pgtest.Database(t)
	pgtest.Exec(t, address, peculiar)
	pgtest.Exec(t, address, "ALTER DATABASE "+name(address)+" SET timezone = 'Asia/Kathmandu'") // the scratch database has another
	dir := filepath.Join(t.TempDir(), "backups")
	o := options(t, address)
	o.Dir, o.Jobs = dir, 3
	backup, err := Make(context.Background(), o)
	require.NoError(t, err)
	assert.True(t, backup.Proven)
	assert.Positive(t, backup.Duration)

	body, err := os.ReadFile(backup.File)
	require.NoError(t, err)
	sum := sha256.Sum256(body)
	assert.Equal(t, hex.EncodeToString(sum[:]), backup.SHA256)
	assert.EqualValues(t, len(body), backup.Bytes)
	info, err := os.Stat(backup.File)
	require.NoError(t, err)
	assert.Equal(t, os.FileMode(0o600), info.Mode().Perm(), "the file holds everything the database does")

	rows := map[string]int64{}
	for _, c := range backup.Tables {
		rows[c.Table] = c.Rows
	}
	assert.Equal(t, map[string]int64{
		`Odd "Schema.counted`: 3, "public.child": 2, "public.extractions": 2000, "public.heirs": 1, "public.nothing": 1, "public.parts": 0,
	}, rows)
	assert.Equal(t, "0", scratchDatabases(t))
}

func TestBackupIsOfOneMomentAlthoughOthersWrite(t *testing.T) {
	address := pgtest.Database(t)
	pgtest.Exec(t, address, "CREATE TABLE t AS SELECT generate_series(1, 1000) AS id; CREATE SEQUENCE s; SELECT setval('s', 10)")
	o := options(t, address)
	o.Dumper = tools{TB: t, dumping: func() {
		pgtest.Exec(t, address, "INSERT INTO t SELECT generate_series(1, 500); SELECT setval('s', 20)")
	}}
	backup, err := Make(context.Background(), o)
	require.NoError(t, err)
	assert.True(t, backup.Proven)
	assert.EqualValues(t, 1000, backup.Tables[0].Rows)
	assert.Equal(t, []Sequence{{"public.s", 10, 20}}, backup.Sequences)
	assert.Equal(t, "1500", pgtest.Value(t, address, "SELECT count(*) FROM t"))
	assert.Empty(t, backup.File, "nobody asked to keep it")
}

// names are those of the rungs, with how each ended.
func names(rungs []Rung) (out []string) {
	for _, r := range rungs {
		switch {
		case r.Skipped:
			out = append(out, r.Name+" skipped")
		case r.OK:
			out = append(out, r.Name)
		default:
			out = append(out, r.Name+" failed")
		}
	}
	if i := slices.Index(out, RungSchema); i >= 0 {
		slices.Sort(out[i+1:]) // climbed at once
	}
	return out
}

func TestBackupIsNotProven(t *testing.T) {
	half := func(b []byte) []byte { return b[:len(b)/2] }
	tests := []struct {
		name   string
		dumped func([]byte) []byte
		sql    string // what happens to the copy
		rung   string
		says   string
	}{
		{"when the dump is cut", half, "", RungRestore, "pg_restore"},
		{"when a row is missing", nil, "DELETE FROM t WHERE id = 7", RungRows, "table public.t has 999 rows instead of 1000"},
		{"when a row differs", nil, "UPDATE t SET name = 'other' WHERE id = 7", RungRows, "table public.t has 1000 rows as it should, but not the same ones"},
		{"when a row differs in a table with a column that has the name we give rows", nil, "UPDATE named SET other = 2", RungRows, "table public.named has 1 rows as it should"},
		{"when two rows that were equal differ alike", nil, "UPDATE twins SET a = 2", RungRows, "table public.twins has 2 rows as it should, but not the same ones"},
		{"when a table is missing", nil, "DROP TABLE t", RungSchema, "public.t"},
		{"when there is a table too many", nil, "CREATE TABLE more ()", RungSchema, "public.more"},
		{"when a large object differs", nil, "SELECT lo_put(42, 1, 'x')", RungRows, "table large objects has 1 rows as it should, but not the same ones"},
		{"when a sequence begins anew", nil, "SELECT setval('s', 1)", RungSequences, "sequence public.s is at 1 instead of 10 to 10"},
		{"when an index has lost a row", nil, "UPDATE pg_index SET indisready = false WHERE indexrelid = 't_id_idx'::regclass; INSERT INTO t VALUES (7, md5('7')); DELETE FROM t WHERE ctid = (SELECT min(ctid) FROM t WHERE id = 7); UPDATE pg_index SET indisready = true WHERE indexrelid = 't_id_idx'::regclass",
			RungAmcheck, `lacks matching index tuple within index "t_id_idx"`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			address := pgtest.Database(t)
			pgtest.Exec(t, address, `CREATE TABLE t AS SELECT g AS id, md5(g::text) AS name FROM generate_series(1, 1000) g; CREATE INDEX t_id_idx ON t (id);
				CREATE TABLE twins AS SELECT 1 AS a FROM generate_series(1, 2); CREATE TABLE named AS SELECT 1 AS counted, 1 AS other;
				SELECT lo_from_bytea(42, 'large'); CREATE SEQUENCE s; SELECT setval('s', 10)`)
			o := options(t, address)
			d := tools{TB: t, dumped: tt.dumped}
			if tt.sql != "" {
				d.restored = func(url string) { pgtest.Exec(t, url, tt.sql) }
			}
			o.Dumper, o.Dir = d, t.TempDir()
			backup, err := Make(context.Background(), o)
			require.ErrorIs(t, err, ErrNotProven)
			require.ErrorContains(t, err, tt.says)
			assert.NotContains(t, err.Error(), pgtest.Password)
			assert.Contains(t, names(backup.Proof), tt.rung+" failed")
			assert.False(t, backup.Proven)
			assert.FileExists(t, backup.File, "kept for a look")
			assert.Equal(t, "0", scratchDatabases(t), "dropped although the proof failed")

			list, err := List(o.Dir)
			require.NoError(t, err)
			require.Len(t, list, 1)
			assert.Equal(t, Unproven, list[0].State)
			assert.Contains(t, list[0].Problem, tt.says)
		})
	}
}

func TestBackupThatFailsLeavesNothing(t *testing.T) {
	address := pgtest.Database(t)
	pgtest.Exec(t, address, "CREATE TABLE t (id int)")
	o := options(t, address)
	o.Dir = t.TempDir()
	none := errors.New("disk on fire")
	o.Dumper = failing{tools{TB: t}, none}
	_, err := Make(context.Background(), o)
	require.ErrorIs(t, err, none)
	for _, dir := range []string{o.Dir, o.Temp} {
		left, _ := os.ReadDir(dir)
		assert.Empty(t, left)
	}
	assert.Equal(t, "0", scratchDatabases(t))
}

// failing dumps the beginning.
type failing struct {
	tools
	err error
}

func (f failing) Dump(_ context.Context, _, _ string, w io.Writer) error {
	_, _ = w.Write([]byte("PGDMP"))
	return f.err
}

func TestBackupEndsWithItsContext(t *testing.T) {
	address := pgtest.Database(t)
	pgtest.Exec(t, address, "CREATE TABLE t (id int)")
	ctx, cancel := context.WithCancel(context.Background())
	o := options(t, address)
	o.Dir, o.Dumper = t.TempDir(), tools{TB: t, restored: func(string) { cancel() }}
	start := time.Now()
	_, err := Make(ctx, o)
	require.ErrorIs(t, err, context.Canceled)
	assert.NotErrorIs(t, err, ErrNotProven, "nobody knows")
	assert.Less(t, time.Since(start), 20*time.Second)
	assert.Equal(t, "0", scratchDatabases(t))
}

func TestBackupCountsNoFewerRowsThanRowLevelSecurityHides(t *testing.T) {
	address := pgtest.Database(t)
	role := "reader_" + name(address)
	pgtest.Exec(t, address, `CREATE TABLE t (id int); INSERT INTO t VALUES (1); ALTER TABLE t ENABLE ROW LEVEL SECURITY;
		CREATE ROLE `+role+` LOGIN CREATEDB PASSWORD '`+pgtest.Password+`'; GRANT SELECT ON t TO `+role)
	t.Cleanup(func() { pgtest.Exec(t, pgtest.Server(t), "DROP ROLE "+role) })
	t.Cleanup(func() { pgtest.Exec(t, address, "DROP OWNED BY "+role) })
	_, err := Make(context.Background(), options(t, address))
	require.NoError(t, err, "a superuser sees everything")
	o := options(t, as(t, address, role))
	o.Scratch = o.URL
	_, err = Make(context.Background(), o)
	require.ErrorContains(t, err, "row-level security")
}

// as is the URL for another role.
func as(t testing.TB, address, role string) string {
	u, err := url.Parse(address)
	require.NoError(t, err)
	u.User = url.UserPassword(role, pgtest.Password)
	return u.String()
}

func TestBackupOfARoleWithoutPrivilegesNamesTheTable(t *testing.T) {
	address := pgtest.Database(t)
	role := "poor_" + name(address)
	pgtest.Exec(t, address, `CREATE SCHEMA app; CREATE TABLE app.ledger (id int); CREATE ROLE `+role+` LOGIN CREATEDB PASSWORD '`+pgtest.Password+`'; GRANT USAGE ON SCHEMA app TO `+role)
	t.Cleanup(func() { pgtest.Exec(t, pgtest.Server(t), "DROP ROLE "+role) })
	t.Cleanup(func() { pgtest.Exec(t, address, "DROP OWNED BY "+role) })
	o := options(t, as(t, address, role))
	o.Scratch = o.URL
	_, err := Make(context.Background(), o)
	require.ErrorContains(t, err, "permission denied for table ledger")
	assert.NotContains(t, err.Error(), pgtest.Password)
}

func name(address string) string {
	name, _, _ := strings.Cut(address[strings.LastIndex(address, "/")+1:], "?")
	return name
}
