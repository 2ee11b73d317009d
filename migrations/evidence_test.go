package migrations

import (
	"context"
	"fmt"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/metaextract/pipeline/internal/pgtest"
	"github.com/metaextract/pipeline/migrations/evidence"
)

// The facts are those of server_facts_test.go, as the evidence of a migration shows them.
func TestEvidenceOfOneStatement(t *testing.T) {
	const setup = `
		CREATE TABLE t (id bigint PRIMARY KEY, a int, v varchar(50), tx text, ts timestamp, num numeric(10,2), payload text);
		INSERT INTO t SELECT g, g % 10, 'v' || g, 't' || g, now(), g % 77, repeat('x', 100) FROM generate_series(1, 2000) g;
		CREATE INDEX t_a ON t (a);
		CREATE TABLE p (id bigint PRIMARY KEY); INSERT INTO p SELECT generate_series(0, 999);
		CREATE TABLE q (i int);
		CREATE VIEW w AS SELECT id FROM p;`
	const table, other = "public.t", "public.p"
	one := func(mode string) []evidence.Lock { return []evidence.Lock{{Relation: table, Mode: mode}} }
	rewritten := []string{table}
	none := []string{}
	tests := []struct {
		statement string
		rewrites  []string
		locks     []evidence.Lock
		quiet     bool // little write-ahead log
	}{
		{"ALTER TABLE t ADD COLUMN n int DEFAULT 3 NOT NULL", none, one("AccessExclusiveLock"), true},
		{"ALTER TABLE t ADD COLUMN n timestamptz DEFAULT now()", none, one("AccessExclusiveLock"), true},
		{"ALTER TABLE t ADD COLUMN n uuid DEFAULT gen_random_uuid()", rewritten, one("AccessExclusiveLock"), false},
		{"ALTER TABLE t ALTER a TYPE bigint", rewritten, one("AccessExclusiveLock"), false},
		{"ALTER TABLE q ALTER i TYPE bigint", []string{"public.q"}, []evidence.Lock{{Relation: "public.q", Mode: "AccessExclusiveLock"}}, true}, // small, so without a TOAST table
		{"ALTER TABLE t ALTER v TYPE varchar(100)", none, one("AccessExclusiveLock"), true},
		{"ALTER TABLE t ALTER v TYPE varchar(20)", rewritten, one("AccessExclusiveLock"), false},
		{"SET LOCAL timezone = 'UTC'; ALTER TABLE t ALTER ts TYPE timestamptz", none, one("AccessExclusiveLock"), true},
		{"SET LOCAL timezone = 'Europe/Berlin'; ALTER TABLE t ALTER ts TYPE timestamptz", rewritten, one("AccessExclusiveLock"), false},
		{"ALTER TABLE t ADD CONSTRAINT c CHECK (a IS NOT NULL) NOT VALID", none, one("AccessExclusiveLock"), true},
		{"ALTER TABLE t ADD CONSTRAINT fk FOREIGN KEY (a) REFERENCES p (id) NOT VALID", none,
			[]evidence.Lock{{Relation: other, Mode: "ShareRowExclusiveLock"}, {Relation: table, Mode: "ShareRowExclusiveLock"}}, true},
		{"CREATE INDEX ix ON t (ts)", none, one("ShareLock"), false},
		{"DROP INDEX t_a", none, one("AccessExclusiveLock"), true},
		{"UPDATE t SET a = a + 1", none, one("RowExclusiveLock"), false},
		{"TRUNCATE t", rewritten, one("AccessExclusiveLock"), true},
		{"CLUSTER t USING t_a", rewritten, one("AccessExclusiveLock"), false},
		{"VACUUM FULL t", rewritten, []evidence.Lock{}, false}, // outside a transaction: no locks are left to be read
		{"SELECT * FROM w", none, []evidence.Lock{{Relation: other, Mode: "AccessShareLock"}, {Relation: "public.w", Mode: "AccessShareLock"}}, true},
		{"CREATE TABLE n AS SELECT 1; ALTER TABLE n ADD COLUMN b int DEFAULT random()", none, []evidence.Lock{}, true},
		{"DROP TABLE t", none, one("AccessExclusiveLock"), true},
		{`CREATE TABLE "Odd.Name" (); LOCK TABLE t IN SHARE MODE; ALTER TABLE t RENAME TO renamed`, none, one("AccessExclusiveLock"), true},
	}
	for _, tt := range tests {
		t.Run(tt.statement, func(t *testing.T) {
			address := pgtest.Database(t)
			pgtest.Exec(t, address, setup)
			m := migrator(t, address, pgtest.Files("1_a.up.sql", tt.statement))
			outcome, err := m.Up(context.Background())
			require.NoError(t, err)
			got := outcome.Applied[0]
			assert.Equal(t, tt.rewrites, got.Rewrites)
			assert.Equal(t, tt.locks, got.Locks)
			assert.Equal(t, m.Migrations()[0].SHA256, got.SHA256)
			assert.Positive(t, got.Duration)
			assert.GreaterOrEqual(t, outcome.Elapsed, got.Duration)
			if tt.quiet {
				assert.Less(t, got.WALBytes, int64(50_000))
			}
		})
	}
}

func TestWriteAheadLogIsMeasured(t *testing.T) {
	address := pgtest.Database(t)
	outcome, err := migrator(t, address, pgtest.Files(
		"1_a.up.sql", "CREATE TABLE t (a int)",
		"2_b.up.sql", "INSERT INTO t SELECT generate_series(1, 10000)")).Up(context.Background())
	require.NoError(t, err)
	assert.Greater(t, outcome.Applied[1].WALBytes, int64(10_000*40), "an insert of an int writes more than 40 bytes")
	assert.Less(t, outcome.Applied[1].WALBytes, int64(10_000*200))
}

func TestEvidenceOfManyTablesIsQuick(t *testing.T) {
	address := pgtest.Database(t)
	pgtest.Exec(t, address, "DO $$ BEGIN FOR i IN 1..500 LOOP EXECUTE format('CREATE TABLE t%s (a int)', i); END LOOP; END $$")
	outcome, err := migrator(t, address, pgtest.Files("1_a.up.sql", "DO $$ BEGIN FOR i IN 1..500 LOOP EXECUTE format('ALTER TABLE t%s ADD b int', i); END LOOP; END $$")).Up(context.Background())
	require.NoError(t, err)
	assert.Len(t, outcome.Applied[0].Locks, 500, fmt.Sprint(outcome.Elapsed))
}
