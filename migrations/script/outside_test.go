package script

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestOutsideTransactionIsRecognised(t *testing.T) {
	for text, want := range map[string]bool{
		"CREATE INDEX CONCURRENTLY i ON t (a)": true, "create unique index /* x */ concurrently on t (a)": true, "CREATE INDEX i ON t (concurrently)": false,
		"DROP INDEX CONCURRENTLY i": true, "DROP INDEX i": false, "REINDEX TABLE CONCURRENTLY t": true, "REINDEX (CONCURRENTLY) TABLE t": true,
		"REINDEX TABLE t": false, "REINDEX DATABASE d": true, "VACUUM t": true, "ANALYZE t": false, "ALTER SYSTEM SET a = 1": true, "CREATE DATABASE d": true,
		"ALTER DATABASE d SET TABLESPACE x": true, "ALTER DATABASE d SET work_mem = '1'": false, "CLUSTER": true, "CLUSTER t": false,
		"ALTER TABLE p DETACH PARTITION c CONCURRENTLY": true, "ALTER TABLE p DETACH PARTITION c": false, "CREATE SUBSCRIPTION s": true,
		"REFRESH MATERIALIZED VIEW CONCURRENTLY v": false, "SELECT 'CREATE INDEX CONCURRENTLY'": false, "-- VACUUM\nSELECT 1": false,
		"-- deploy: no-transaction\nSELECT 1": true, "SELECT 1; -- deploy: no-transaction": true, "SELECT '-- deploy: no-transaction'": false,
	} {
		s, err := Parse("f", text)
		require.NoError(t, err, text)
		assert.Equal(t, want, s.Outside, text)
	}
}
