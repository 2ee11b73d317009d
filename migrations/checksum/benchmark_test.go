package checksum

import (
	"context"
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/metaextract/pipeline/internal/pgtest"
)

// shapes are tables of a million rows.
var shapes = []struct{ name, row string }{
	{"narrow", "g::bigint AS id, (g % 1000)::int AS a"},
	{"ordinary", "g::bigint AS id, (g % 1000)::int AS a, 'user' || g || '@example.org' AS email, now() + g * interval '1 s' AS at, md5(g::text) AS name"},
	{"money", "g::bigint AS id, (g % 5000)::bigint AS account, (g / 7.0)::numeric(12, 2) AS amount, now() + g * interval '1 s' AS at, g % 2 = 0 AS settled"},
	{"identifiers", "md5(g::text)::uuid AS id, md5((-g)::text)::uuid AS parent, current_date + g % 999 AS day, g / 3.0::float8 AS score"},
	{"documents", "g::bigint AS id, jsonb_build_object('k', g, 'tags', ARRAY['a', 'b'], 'name', md5(g::text)) AS doc"},
	{"wide", "g::bigint AS id, g AS a, g AS b, g AS c, g AS d, g AS e, 't' || g AS f, 't' || g AS h, 't' || g AS i, 't' || g AS j, 't' || g AS k, now() AS l, now() AS m, g % 2 = 0 AS n, g % 3 = 0 AS o"},
}

const million = 1_000_000

// Reported on one core: no parallel query.
func BenchmarkChecksum(b *testing.B) {
	for _, shape := range shapes {
		b.Run(shape.name, func(b *testing.B) {
			address := pgtest.Database(b)
			pgtest.Exec(b, address, fmt.Sprintf("CREATE TABLE t AS SELECT %s FROM generate_series(1, %d) g", shape.row, million))
			pgtest.Exec(b, address, "VACUUM ANALYZE")
			conn := session(b, address)
			_, err := conn.Exec(context.Background(), "SET max_parallel_workers_per_gather = 0")
			require.NoError(b, err)
			for b.Loop() {
				tables, err := Tables(context.Background(), conn)
				require.NoError(b, err)
				require.EqualValues(b, million, tables[0].Rows)
			}
			b.ReportMetric(million*float64(b.N)/b.Elapsed().Seconds(), "rows/s")
			b.ReportMetric(0, "ns/op")
		})
	}
}
