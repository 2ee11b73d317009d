package main

import (
	"context"
	"fmt"
	"os"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/metaextract/pipeline/internal/pg"
	"github.com/metaextract/pipeline/migrations/checksum"
)

const (
	checksumRows = 1_000_000
	checksumBar  = 2 // million rows a second
)

// shapes are rows of tables, the same as in the benchmark of package checksum.
var shapes = []struct{ name, row string }{
	{"2 columns, integers", "g::bigint AS id, (g % 1000)::int AS a"},
	{"5 columns, a user's", "g::bigint AS id, (g % 1000)::int AS a, 'user' || g || '@example.org' AS email, now() + g * interval '1 s' AS at, md5(g::text) AS name"},
	{"5 columns, a payment's", "g::bigint AS id, (g % 5000)::bigint AS account, (g / 7.0)::numeric(12, 2) AS amount, now() + g * interval '1 s' AS at, g % 2 = 0 AS settled"},
	{"4 columns, identifiers", "md5(g::text)::uuid AS id, md5((-g)::text)::uuid AS parent, current_date + g % 999 AS day, g / 3.0::float8 AS score"},
	{"2 columns, a document", "g::bigint AS id, jsonb_build_object('k', g, 'tags', ARRAY['a', 'b'], 'name', md5(g::text)) AS doc"},
	{"15 columns", "g::bigint AS id, g AS a, g AS b, g AS c, g AS d, g AS e, 't' || g AS f, 't' || g AS h, 't' || g AS i, 't' || g AS j, 't' || g AS k, now() AS l, now() AS m, g % 2 = 0 AS n, g % 3 = 0 AS o"},
}

// checksums measures how many rows a second one processor counts and sums.
func checksums(ctx context.Context, s size) ([]Measure, error) {
	server, err := start(ctx, map[string]string{"max_parallel_workers_per_gather": "0"})
	if err != nil {
		return nil, err
	}
	defer server.Close()
	rows := s.of(checksumRows)
	var measures []Measure
	for i, shape := range shapes {
		address, err := server.CreateDatabase(ctx, fmt.Sprintf("bench_%d", i))
		if err != nil {
			return measures, err
		}
		for _, sql := range []string{fmt.Sprintf("CREATE TABLE t AS SELECT %s FROM generate_series(1, %d) g", shape.row, rows), "VACUUM ANALYZE"} {
			if err := execute(ctx, address, sql); err != nil {
				return measures, err
			}
		}
		speeds, err := summed(ctx, address, rows, s.runs)
		if err != nil {
			return measures, err
		}
		fmt.Fprintf(os.Stderr, "bench: checksum of %s: %s million rows a second\n", shape.name, number(median(speeds)))
		measures = append(measures, runsAtLeast("checksum on one processor: "+shape.name, "million rows/s", speeds, checksumBar))
	}
	return measures, nil
}

func summed(ctx context.Context, address string, rows, runs int) (speeds []float64, err error) {
	conn, err := pg.Connect(ctx, address)
	if err != nil {
		return nil, err
	}
	defer pg.HangUp(ctx, conn)
	if _, err := conn.Exec(ctx, checksum.Session, pgx.QueryExecModeSimpleProtocol); err != nil {
		return nil, pg.Ended(ctx, err)
	}
	for range runs {
		begun := time.Now()
		tables, err := checksum.Tables(ctx, conn)
		if err != nil {
			return nil, err
		}
		if len(tables) != 1 || tables[0].Rows != int64(rows) {
			return nil, fmt.Errorf("the checksum is of %v, not of %d rows", tables, rows)
		}
		speeds = append(speeds, float64(rows)/1e6/time.Since(begun).Seconds())
	}
	return speeds, nil
}
