package plans

import (
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
)

func TestReadingIsHowRowsAreFound(t *testing.T) {
	tests := []struct {
		name, sql, want string
		parameters      []int
	}{
		{"of a SELECT", "SELECT a FROM t WHERE b = $1", "SELECT a FROM t WHERE b = $1", []int{1}},
		{"of one that locks", "SELECT a FROM t WHERE b = $1 FOR UPDATE", "SELECT a FROM t WHERE b = $1", []int{1}},
		{"of one that locks in two ways", "SELECT a FROM t, u FOR NO KEY UPDATE OF t FOR KEY SHARE OF u SKIP LOCKED LIMIT $1", "SELECT a FROM t, u LIMIT $1", []int{1}},
		{"of one that takes a part of a text", "SELECT substring(a FROM 1 FOR 2) FROM t", "SELECT substring(a FROM 1 FOR 2) FROM t", nil},
		{"of an UPDATE", "UPDATE t SET a = $1 WHERE b = $2 RETURNING a", "SELECT 1 FROM t WHERE b = $2", []int{2}},
		{"of all rows", "UPDATE t SET a = $1", "SELECT 1 FROM t", nil},
		{"of an UPDATE with other tables", "UPDATE ONLY s.t AS x SET a = u.a IS DISTINCT FROM $1, b = (SELECT 1 FROM v WHERE c) FROM u JOIN v USING (c) WHERE x.id = u.id AND u.b = $2",
			"SELECT 1 FROM ONLY s.t AS x , u JOIN v USING (c) WHERE x.id = u.id AND u.b = $2", []int{2}},
		{"of an UPDATE of odd names", `UPDATE "set" SET "where" = $1 WHERE "from" = $2`, `SELECT 1 FROM "set" WHERE "from" = $2`, []int{2}},
		{"of an UPDATE with WITH", "WITH w AS (SELECT a FROM u WHERE b = $1) UPDATE t SET a = $2 FROM w WHERE t.a = w.a", "WITH w AS (SELECT a FROM u WHERE b = $1) SELECT 1 FROM t , w WHERE t.a = w.a", []int{1}},
		{"of a DELETE", "DELETE FROM t WHERE a = $1", "SELECT 1 FROM t WHERE a = $1", []int{1}},
		{"of a DELETE of all", "DELETE FROM ONLY t", "SELECT 1 FROM ONLY t", nil},
		{"of a DELETE with other tables", "DELETE FROM t x USING u JOIN v USING (c) WHERE x.id = u.id RETURNING x.*", "SELECT 1 FROM t x , u JOIN v USING (c) WHERE x.id = u.id", nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r, why := reading(tt.sql)
			assert.Empty(t, why)
			assert.Equal(t, tt.want, strings.Join(strings.Fields(r.statement.SQL()), " "))
			assert.Equal(t, tt.parameters, slices.Sorted(maps.Keys(r.parameters)))
		})
	}
}

func FuzzReading(f *testing.F) {
	for _, seed := range []string{"SELECT a FROM t FOR UPDATE", "UPDATE t SET a = 1 FROM u WHERE b", "DELETE FROM t USING u", "WITH w AS (DELETE FROM t RETURNING a) UPDATE u SET a = 1", "UPDATE",
		"DELETE", "SELECT 1 FOR", "(SELECT a FROM t FOR SHARE) LIMIT 1", "UPDATE t SET a = 1 WHERE CURRENT OF c"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, sql string) {
		r, why := reading(sql)
		assert.Equal(t, why == "", r.statement != nil)
		if why == "" {
			assert.Equal(t, "SELECT", r.statement.Kind(), "%s of %s", r.statement.SQL(), sql)
			assert.Empty(t, r.statement.Writes())
		}
	})
}
