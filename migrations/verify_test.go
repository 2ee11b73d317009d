package migrations

import (
	"context"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/metaextract/pipeline/internal/pgtest"
)

func TestMigrationThatVerifiesItself(t *testing.T) {
	tests := []struct {
		name, body, says string
	}{
		{"a query that answers", "CREATE TABLE t (a int);\n-- deploy: verify SELECT a FROM t", ""},
		{"a query that answers true", "CREATE TABLE t (a int);\n-- deploy: verify SELECT count(*) = 0 FROM t", ""},
		{"two of them", "CREATE TABLE t (a int);\n-- deploy: verify SELECT true\n-- deploy: verify SELECT a FROM t;", ""},
		{"one that answers false", "CREATE TABLE t (a int); INSERT INTO t VALUES (1);\n-- deploy: verify SELECT count(*) = 0 FROM t",
			"m/1_a.up.sql:2: the migration's verification failed: the query answers false: SELECT count(*) = 0 FROM t"},
		{"one that fails", "CREATE TABLE t (a int);\n-- deploy: verify SELECT b FROM t", "the migration's verification failed: m/1_a.up.sql:2: column \"b\" does not exist (42703)"},
		{"one that writes", "CREATE TABLE t (a int);\n-- deploy: verify INSERT INTO t VALUES (1)", "cannot execute INSERT in a read-only transaction (25006)"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			address := pgtest.Database(t)
			outcome, err := migrator(t, address, pgtest.Files("1_a.up.sql", tt.body)).Up(context.Background())
			if tt.says == "" {
				require.NoError(t, err)
				assert.Positive(t, outcome.Applied[0].Verified)
				return
			}
			require.Error(t, err)
			require.ErrorContains(t, err, tt.says)
			assert.Equal(t, "none", pgtest.Value(t, address, stateQuery))
			assert.Equal(t, "NULL", pgtest.Value(t, address, "SELECT to_regclass('t')"), "taken back before anybody has seen it")
		})
	}
}

func TestVerificationOutsideATransactionLeavesTheMigrationUnfinished(t *testing.T) {
	address := pgtest.Database(t)
	folder := pgtest.Files("1_a.up.sql", "CREATE TABLE t (a int)", "2_b.up.sql", "CREATE INDEX CONCURRENTLY i ON t (a);\n-- deploy: verify SELECT count(*) = 1 FROM t")
	_, err := migrator(t, address, folder).Up(context.Background())
	require.ErrorIs(t, err, ErrVerify)
	require.ErrorIs(t, err, ErrDirty)
	assert.Equal(t, "2 true", pgtest.Value(t, address, stateQuery))
	pgtest.Exec(t, address, "INSERT INTO t VALUES (1)")
	outcome, err := migrator(t, address, folder).Up(context.Background())
	require.NoError(t, err, "it is verified again, and not made again")
	assert.Equal(t, 1, outcome.Applied[0].Resumed)
	assert.Equal(t, "2 false", pgtest.Value(t, address, stateQuery))
}
