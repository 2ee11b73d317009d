package backfill

import (
	"context"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/metaextract/pipeline/internal/pgtest"
)

const millionUsers = `CREATE TABLE users (id bigint PRIMARY KEY, email text NOT NULL, hits int NOT NULL DEFAULT 0, email_lower text);
	INSERT INTO users SELECT g, 'User' || g || '@Example.org' FROM generate_series(1, 1000000) g; ANALYZE users`

// BenchmarkMillionRows fills a column of a million rows while somebody writes single rows at random:
//
//	go test -run - -bench MillionRows -benchtime 1x ./migrations/backfill
func BenchmarkMillionRows(b *testing.B) {
	const fill = "UPDATE users SET email_lower = lower(email) WHERE "
	for _, bb := range []struct {
		name string
		do   func(b *testing.B, address string, conn *pgx.Conn)
	}{
		{"one update", func(b *testing.B, _ string, conn *pgx.Conn) {
			_, err := conn.Exec(context.Background(), fill+"true")
			require.NoError(b, err)
		}},
		{"in batches, guarded", func(b *testing.B, address string, conn *pgx.Conn) {
			backfill(b, address, conn, fill+"id BETWEEN $1 AND $2 AND email_lower IS NULL")
		}},
		{"in batches, once", func(b *testing.B, address string, conn *pgx.Conn) {
			backfill(b, address, conn, fill+"id BETWEEN $1 AND $2")
		}},
	} {
		b.Run(bb.name, func(b *testing.B) {
			var took, worst time.Duration
			for b.Loop() {
				b.StopTimer()
				address := pgtest.Database(b)
				pgtest.Exec(b, address, millionUsers)
				conn := connect(b, address)
				over, longest := make(chan struct{}), make(chan time.Duration)
				go func() { longest <- write(b, address, over) }()
				b.StartTimer()
				start := time.Now()
				bb.do(b, address, conn)
				took += time.Since(start)
				b.StopTimer()
				close(over)
				worst = max(worst, <-longest)
				require.Equal(b, "0", pgtest.Value(b, address, "SELECT count(*) FROM users WHERE email_lower IS DISTINCT FROM lower(email)"))
				b.StartTimer()
			}
			b.ReportMetric(1e6*float64(b.N)/took.Seconds(), "rows/s")
			b.ReportMetric(float64(worst.Milliseconds()), "worst-wait-ms")
		})
	}
}

func backfill(b *testing.B, address string, conn *pgx.Conn, statement string) {
	p, err := Run(context.Background(), conn, options(b, address, "-- deploy: backfill users by id\n"+statement))
	require.NoError(b, err)
	b.ReportMetric(float64(p.Batches), "batches")
	b.ReportMetric(float64(p.Batch), "last-batch")
	b.ReportMetric(float64(p.Pass), "passes")
}

// write updates one row after another until it is over, and returns how long the slowest took.
func write(b *testing.B, address string, over <-chan struct{}) (longest time.Duration) {
	conn := connect(b, address)
	for {
		select {
		case <-over:
			return longest
		default:
		}
		start := time.Now()
		if _, err := conn.Exec(context.Background(), "UPDATE users SET hits = hits + 1 WHERE id = $1", rand.Int64N(1_000_000)+1); err != nil {
			b.Error(err)
			return longest
		}
		longest = max(longest, time.Since(start))
	}
}
