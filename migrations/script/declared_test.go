package script

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestBackfillNamesOddTables(t *testing.T) {
	s, err := Parse("f", `-- deploy: backfill   "Odd ""Schema"."The  Table"  by "The ""Key"  pause 50ms batch 7`+"\n"+
		`UPDATE "Odd ""Schema"."The  Table" t SET a = 1 WHERE t."The ""Key" BETWEEN $1 AND $2`)
	require.NoError(t, err)
	assert.Equal(t, &Backfill{Table: `"Odd ""Schema"."The  Table"`, Key: `"The ""Key"`, Batch: 7, Pause: 50 * time.Millisecond, File: "f", Line: 1}, s.Declared.Backfill)
}

func TestBackfillNamesItsRangeInOneWay(t *testing.T) {
	for _, tt := range []struct {
		where string
		fine  bool
	}{
		{"id BETWEEN $1 AND $2", true},
		{"a > 0 AND Id between $1 and $2 AND b IS NULL", true},
		{`t."id" BETWEEN $1::bigint AND $2::bigint`, true},
		{"id BETWEEN $1::numeric(10, 2) AND $2::numeric(10, 2)", true},
		{"id >= $1 AND id <= $2", true},
		{"id <= $2 AND x AND id>=$1", true},
		{"id BETWEEN $1 AND $2 AND EXISTS (SELECT FROM v WHERE v.id BETWEEN $1 AND $2)", true},
		{"id BETWEEN $1 AND $2 AND a <> 'id < $2'", true},
		{"id BETWEEN $1 /* id < $2 */ AND $2 -- id < $2", true},
		{"id >= $1 AND id < $2", false},
		{"id > $1 AND id <= $2", false},
		{"id BETWEEN $1 AND $2 AND id < $2", false},
		{"id NOT BETWEEN $1 AND $2", false},
		{"id BETWEEN SYMMETRIC $1 AND $2", false},
		{"other BETWEEN $1 AND $2", false},
		{`"ID" BETWEEN $1 AND $2`, false},
		{"id BETWEEN $2 AND $1", false},
		{"id BETWEEN $1 AND $1", false},
		{"id BETWEEN $1 AND 5 AND $2 > 3", false},
		{"id >= $1 AND $2 >= id", false},
		{"id >= $1", false},
		{"id <= $2", false},
		{"a = 'id BETWEEN $1 AND $2'", false},
	} {
		t.Run(tt.where, func(t *testing.T) {
			_, err := Parse("f.sql", "-- deploy: backfill t by id\nUPDATE t SET a = 1 WHERE "+tt.where)
			if tt.fine {
				require.NoError(t, err)
				return
			}
			require.EqualError(t, err, "f.sql:1: the statement must name the batch as id BETWEEN $1 AND $2, and in no other way: "+
				"both ends belong to it, so id < $2 would leave rows out")
		})
	}
}
