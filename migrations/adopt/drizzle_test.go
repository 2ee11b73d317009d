package adopt_test

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"testing/fstest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/metaextract/pipeline/internal/pg"
	"github.com/metaextract/pipeline/internal/pgtest"
	"github.com/metaextract/pipeline/migrations"
	"github.com/metaextract/pipeline/migrations/adopt"
	"github.com/metaextract/pipeline/migrations/folder"
)

// migrateScript is what an application with drizzle-orm runs when it starts.
const migrateScript = `
import pg from "pg";
import { drizzle } from "drizzle-orm/node-postgres";
import { migrate } from "drizzle-orm/node-postgres/migrator";
const client = new pg.Client(process.env.DATABASE_URL);
await client.connect();
await migrate(drizzle(process.argv[3] === "1" ? { client } : client), { migrationsFolder: process.argv[2] });
await client.end();
`

// drizzleORM installs a version of drizzle-orm and answers what runs its migrator on a folder.
func drizzleORM(t *testing.T, version string) func(address, folder string) {
	t.Helper()
	npm, err := exec.LookPath("npm")
	if err != nil {
		t.Skip("npm is not installed, so drizzle-orm itself cannot be run")
	}
	dir := t.TempDir()
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	t.Cleanup(cancel)
	install := exec.CommandContext(ctx, npm, "install", "--prefix", dir, "--no-audit", "--no-fund", "--prefer-offline", "--ignore-scripts", "drizzle-orm@"+version, "pg@8")
	install.Dir = dir
	if out, err := install.CombinedOutput(); err != nil {
		t.Skipf("npm cannot install drizzle-orm here: %v: %s", err, out)
	}
	script := filepath.Join(dir, "migrate.mjs")
	require.NoError(t, os.WriteFile(script, []byte(migrateScript), 0o644))
	return func(address, folder string) {
		run := exec.CommandContext(ctx, "node", script, folder, version[:1])
		run.Env = append(os.Environ(), "DATABASE_URL="+address)
		out, err := run.CombinedOutput()
		require.NoError(t, err, "%s", out)
	}
}

// write puts files into a directory and answers it.
func write(t *testing.T, files fstest.MapFS) string {
	t.Helper()
	dir := t.TempDir()
	require.NoError(t, os.CopyFS(dir, files))
	return dir
}

// goesOn takes a database over and applies what is pending.
func goesOn(t *testing.T, address string, files fstest.MapFS) (*adopt.Plan, migrations.Outcome) {
	t.Helper()
	ctx := context.Background()
	conn, err := pg.Connect(ctx, address)
	require.NoError(t, err)
	defer pg.HangUp(ctx, conn)
	p, err := adopt.Look(ctx, conn, files, folder.Options{Dir: "m"}, nil)
	require.NoError(t, err)
	require.NoError(t, p.Apply(ctx, conn, adopt.Who{Run: "adoption"}))
	m, err := migrations.New(migrations.Options{URL: address, FS: files, Folder: folder.Options{Dir: "m"}})
	require.NoError(t, err)
	outcome, err := m.Up(ctx)
	require.NoError(t, err)
	return p, outcome
}

func TestWhatDrizzleORMAppliedIsTakenOver(t *testing.T) {
	tests := []struct {
		name, version string
		first, then   fstest.MapFS
		tables        string
	}{
		{"with its journal", "0.45.4",
			pgtest.Files("meta/_journal.json", pgtest.Journal("0 1767225600000 0000_a", "1 1767312000000 0001_b"), "0000_a.sql", "CREATE TABLE a (id int);\n--> statement-breakpoint\nCREATE TABLE b (id int);", "0001_b.sql", "ALTER TABLE a ADD COLUMN more text;"),
			pgtest.Files("meta/_journal.json", pgtest.Journal("0 1767225600000 0000_a", "1 1767312000000 0001_b", "2 1767398400000 0002_c"), "0000_a.sql", "CREATE TABLE a (id int);\n--> statement-breakpoint\nCREATE TABLE b (id int);", "0001_b.sql", "ALTER TABLE a ADD COLUMN more text;", "0002_c.sql", "CREATE TABLE c (id int);"),
			"a,b,c"},
		{"with its folders", "1.0.0-rc.4",
			pgtest.Files("20260101000000_a/migration.sql", "CREATE TABLE a (id int);\n--> statement-breakpoint\nCREATE TABLE b (id int);", "20260102000000_b/migration.sql", "ALTER TABLE a ADD COLUMN more text;"),
			pgtest.Files("20260101000000_a/migration.sql", "CREATE TABLE a (id int);\n--> statement-breakpoint\nCREATE TABLE b (id int);", "20260102000000_b/migration.sql", "ALTER TABLE a ADD COLUMN more text;", "20260103000000_c/migration.sql", "CREATE TABLE c (id int);"),
			"a,b,c"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			migrate := drizzleORM(t, tt.version)
			address := pgtest.Database(t)
			migrate(address, filepath.Join(write(t, tt.first), "m"))
			before := pgtest.Value(t, address, "SELECT string_agg(concat_ws(' ', xmin, ctid, m::text), ',') FROM drizzle.__drizzle_migrations m")

			p, outcome := goesOn(t, address, tt.then)
			require.Len(t, p.Files, 3)
			for i, f := range p.Files[:2] {
				assert.Equal(t, adopt.Applied, f.Verdict, "%d", i)
				assert.Equal(t, "drizzle-orm", f.By)
				assert.Equal(t, "hash equal", f.Why)
			}
			assert.Equal(t, adopt.Pending, p.Files[2].Verdict)
			assert.Equal(t, p.Version, outcome.From)
			require.Len(t, outcome.Applied, 1)
			assert.Equal(t, tt.tables, pgtest.Value(t, address, "SELECT string_agg(relname, ',' ORDER BY relname) FROM pg_class WHERE relname IN ('a', 'b', 'c')"))
			assert.Equal(t, before, pgtest.Value(t, address, "SELECT string_agg(concat_ws(' ', xmin, ctid, m::text), ',') FROM drizzle.__drizzle_migrations m"))
		})
	}
}

// A folder whose second part another runner applied goes on like any other once it has been taken over, and builds the
// same from nothing.
func TestTakenOverFolderGoesOn(t *testing.T) {
	files := pgtest.Files("001_a.sql", "CREATE TABLE a (id int)", "002_b.sql", "CREATE TABLE b (id int)", "002_c.sql", "ALTER TABLE b ADD COLUMN c int", "003_d.sql", "CREATE TABLE d (id int)")
	address := pgtest.Database(t)
	pgtest.Exec(t, address, `CREATE TABLE a (id int); CREATE TABLE b (id int); ALTER TABLE b ADD COLUMN c int;
		CREATE TABLE schema_migrations (filename text, applied_at timestamptz);
		INSERT INTO schema_migrations VALUES ('001_a.sql', '2026-01-01'), ('002_b.sql', '2026-01-02'), ('002_c.sql', '2026-01-03')`)
	ctx := context.Background()
	conn, err := pg.Connect(ctx, address)
	require.NoError(t, err)
	defer pg.HangUp(ctx, conn)
	proposed, err := adopt.Look(ctx, conn, files, folder.Options{Dir: "m"}, nil)
	require.NoError(t, err)
	require.True(t, proposed.Refused())
	options := folder.Options{Dir: "m", Accept: proposed.Accept}
	p, err := adopt.Look(ctx, conn, files, options, nil)
	require.NoError(t, err)
	require.NoError(t, p.Apply(ctx, conn, adopt.Who{Run: "adoption"}))

	columns := func(address string) string {
		return pgtest.Value(t, address, "SELECT string_agg(attrelid::regclass || '.' || attname, ',' ORDER BY attrelid::regclass::text, attnum) FROM pg_attribute WHERE attnum > 0 AND attrelid IN (to_regclass('a'), to_regclass('b'), to_regclass('d'))")
	}
	fresh := pgtest.Database(t)
	for at, want := range map[string]int{address: 1, fresh: 3} {
		m, err := migrations.New(migrations.Options{URL: at, FS: files, Folder: options})
		require.NoError(t, err)
		outcome, err := m.Up(ctx)
		require.NoError(t, err)
		assert.Len(t, outcome.Applied, want)
	}
	assert.Equal(t, columns(fresh), columns(address))
}
