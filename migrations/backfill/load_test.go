package backfill

import (
	"context"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/metaextract/pipeline/internal/pgtest"
)

// The application of the release before goes on inserting rows that nobody fills, at random places of the key, until the
// backfill has ended. Every row that was committed before the last pass began is filled, and none twice.
func TestNothingThatWasThereBeforeTheLastPassIsLeftUnderLoad(t *testing.T) {
	address := pgtest.Database(t)
	pgtest.Exec(t, address, `CREATE TABLE users (id uuid PRIMARY KEY DEFAULT gen_random_uuid(), email text NOT NULL, hits int NOT NULL DEFAULT 0, lower text, n int NOT NULL DEFAULT 0);
		INSERT INTO users (email) SELECT 'User' || g FROM generate_series(1, 5000) g`)
	conn := connect(t, address)
	var mu sync.Mutex
	committed := map[string]time.Time{}
	over := make(chan struct{})
	var writers sync.WaitGroup
	for range 2 {
		writer := connect(t, address)
		writers.Go(func() {
			for {
				select {
				case <-over:
					return
				default:
				}
				var id string
				err := writer.QueryRow(context.Background(), "INSERT INTO users (email) VALUES ('Late') RETURNING id::text").Scan(&id)
				at := time.Now()
				if err == nil {
					_, err = writer.Exec(context.Background(), "UPDATE users SET hits = hits + 1 WHERE id IN (SELECT id FROM users WHERE id > gen_random_uuid() ORDER BY id LIMIT 1)")
				}
				if !assert.NoError(t, err) {
					return
				}
				mu.Lock()
				committed[id] = at
				mu.Unlock()
			}
		})
	}
	o := options(t, address, "-- deploy: backfill users by id batch 50\nUPDATE users SET lower = lower(email), n = n + 1 WHERE id BETWEEN $1 AND $2 AND lower IS NULL")
	began := map[int]time.Time{}
	o.Observe = func(p Progress) {
		if _, seen := began[p.Pass]; !seen {
			began[p.Pass] = time.Now()
		}
	}
	p, err := Run(context.Background(), conn, o)
	close(over)
	writers.Wait()
	require.NoError(t, err)

	rows, err := conn.Query(context.Background(), "SELECT id::text FROM users WHERE lower IS NULL")
	require.NoError(t, err)
	left, err := pgx.CollectRows(rows, pgx.RowTo[string])
	require.NoError(t, err)
	for _, id := range left {
		at, late := committed[id]
		require.True(t, late, "a row that was there from the beginning is left")
		assert.True(t, at.After(began[p.Pass]), "a row is left that was committed %s before the last pass began", began[p.Pass].Sub(at))
	}
	early := 0
	for _, at := range committed {
		if at.Before(began[p.Pass]) {
			early++
		}
	}
	assert.Positive(t, early)
	assert.GreaterOrEqual(t, p.Pass, 2)
	assert.Equal(t, "0", pgtest.Value(t, address, "SELECT count(*) FROM users WHERE n > 1 OR n = 1 AND lower <> lower(email)"))
	t.Logf("%d rows in %d passes; of %d inserted meanwhile, %d before the last pass began, %d are left", p.Done, p.Pass, len(committed), early, len(left))
}
