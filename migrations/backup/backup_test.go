package backup

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/metaextract/pipeline/internal/pgtest"
)

// meddler is a Dumper with something in the way of the bytes.
type meddler struct {
	pgtest.Dumper
	dumping  func() // before pg_dump starts
	dumped   func([]byte) []byte
	restored func(ctx context.Context, url string) error
}

func (m meddler) Dump(ctx context.Context, url, snapshot string, w io.Writer) error {
	if m.dumping != nil {
		m.dumping()
	}
	var all bytes.Buffer
	if err := m.Dumper.Dump(ctx, url, snapshot, &all); err != nil {
		return err
	}
	body := all.Bytes()
	if m.dumped != nil {
		body = m.dumped(body)
	}
	_, err := w.Write(body)
	return err
}

func (m meddler) Restore(ctx context.Context, url string, r io.Reader) error {
	if err := m.Dumper.Restore(ctx, url, r); err != nil || m.restored == nil {
		return err
	}
	return m.restored(ctx, url)
}

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

func scratchDatabases(t testing.TB) string {
	return pgtest.Value(t, pgtest.Server(t), `SELECT count(*) FROM pg_database WHERE datname LIKE 'pipeline\_scratch\_%'`)
}

func TestBackupIsProvenByRestoringIt(t *testing.T) {
	address := pgtest.Database(t)
	pgtest.Exec(t, address, peculiar)
	pgtest.Exec(t, address, "ALTER DATABASE "+name(address)+" SET timezone = 'Asia/Kathmandu'") // the scratch database has another
	dir := filepath.Join(t.TempDir(), "backups")
	backup, err := Make(context.Background(), Options{URL: address, Dumper: pgtest.NewDumper(t), Dir: dir})
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
	pgtest.Exec(t, address, "CREATE TABLE t AS SELECT generate_series(1, 1000) AS id")
	dumper := meddler{Dumper: pgtest.NewDumper(t), dumping: func() { pgtest.Exec(t, address, "INSERT INTO t SELECT generate_series(1, 500)") }}
	backup, err := Make(context.Background(), Options{URL: address, Dumper: dumper})
	require.NoError(t, err)
	assert.True(t, backup.Proven)
	assert.EqualValues(t, 1000, backup.Tables[0].Rows)
	assert.Equal(t, "1500", pgtest.Value(t, address, "SELECT count(*) FROM t"))
	assert.Empty(t, backup.File, "nobody asked to keep it")
}

func TestBackupIsNotProven(t *testing.T) {
	during := func(sql string) func(context.Context, string) error {
		return func(_ context.Context, url string) error {
			pgtest.Exec(t, url, sql)
			return nil
		}
	}
	half := func(b []byte) []byte { return b[:len(b)/2] }
	altered := func(b []byte) []byte {
		b[len(b)/2] ^= 0xff
		return b
	}
	tests := []struct {
		name   string
		dumper meddler
		says   string
	}{
		{"when the file is cut", meddler{dumped: half}, "pg_restore"},
		{"when a bit of the file has flipped", meddler{dumped: altered}, "pg_restore"},
		{"when a row is missing", meddler{restored: during("DELETE FROM t WHERE id = 7")}, "table public.t has 999 rows instead of 1000"},
		{"when a row differs", meddler{restored: during("UPDATE t SET name = 'other' WHERE id = 7")}, "table public.t has 1000 rows as it should, but not the same ones"},
		{"when a row differs in a table with a column that has the name we give rows", meddler{restored: during("UPDATE named SET other = 2")}, "table public.named has 1 rows as it should"},
		{"when two rows that were equal differ alike", meddler{restored: during("UPDATE twins SET a = 2")}, "table public.twins has 2 rows as it should, but not the same ones"},
		{"when a table is missing", meddler{restored: during("DROP TABLE t")}, "table public.t is missing"},
		{"when there is a table too many", meddler{restored: during("CREATE TABLE more ()")}, "table public.more was not in the database"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			address := pgtest.Database(t)
			pgtest.Exec(t, address, "CREATE TABLE t AS SELECT g AS id, md5(g::text) AS name FROM generate_series(1, 1000) g; CREATE TABLE twins AS SELECT 1 AS a FROM generate_series(1, 2); CREATE TABLE named AS SELECT 1 AS counted, 1 AS other")
			tt.dumper.Dumper = pgtest.NewDumper(t)
			backup, err := Make(context.Background(), Options{URL: address, Dumper: tt.dumper, Dir: t.TempDir()})
			require.ErrorIs(t, err, ErrNotProven)
			require.ErrorContains(t, err, tt.says)
			assert.NotContains(t, err.Error(), pgtest.Password)
			assert.False(t, backup.Proven)
			assert.FileExists(t, backup.File, "kept for a look")
			assert.Equal(t, "0", scratchDatabases(t), "dropped although the proof failed")
		})
	}
}

func TestBackupThatFailsLeavesNothing(t *testing.T) {
	address := pgtest.Database(t)
	pgtest.Exec(t, address, "CREATE TABLE t (id int)")
	dir := t.TempDir()
	none := errors.New("disk on fire")
	_, err := Make(context.Background(), Options{URL: address, Dumper: failing{none}, Dir: dir})
	require.ErrorIs(t, err, none)
	left, _ := os.ReadDir(dir)
	assert.Empty(t, left)
	assert.Equal(t, "0", scratchDatabases(t))
}

type failing struct{ err error }

func (f failing) Dump(_ context.Context, _, _ string, w io.Writer) error {
	_, _ = w.Write([]byte("PGDMP"))
	return f.err
}
func (f failing) Restore(context.Context, string, io.Reader) error { return f.err }

func TestBackupEndsWithItsContext(t *testing.T) {
	address := pgtest.Database(t)
	pgtest.Exec(t, address, "CREATE TABLE t (id int)")
	ctx, cancel := context.WithCancel(context.Background())
	start := time.Now()
	_, err := Make(ctx, Options{URL: address, Dir: t.TempDir(), Dumper: meddler{
		Dumper:   pgtest.NewDumper(t),
		restored: func(ctx context.Context, _ string) error { cancel(); <-ctx.Done(); return ctx.Err() },
	}})
	require.ErrorIs(t, err, context.Canceled)
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
	_, err := Make(context.Background(), Options{URL: address, Dumper: pgtest.NewDumper(t)})
	require.NoError(t, err, "a superuser sees everything")
	u, err := url.Parse(address)
	require.NoError(t, err)
	u.User = url.UserPassword(role, pgtest.Password)
	_, err = Make(context.Background(), Options{URL: u.String(), Dumper: failing{}})
	require.ErrorContains(t, err, "row-level security")
}

func name(address string) string {
	name, _, _ := strings.Cut(address[strings.LastIndex(address, "/")+1:], "?")
	return name
}

func TestMain(m *testing.M) { pgtest.Main(m) }
