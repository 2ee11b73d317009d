package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"
	"time"

	"github.com/golang-migrate/migrate/v4"

	"github.com/metaextract/pipeline/internal/host"
	"github.com/metaextract/pipeline/internal/pg"
)

const (
	atOnce      = 20
	oursRounds  = 50
	theirRounds = 10 // each takes seconds
	// roundPatience ends a round in which somebody hangs. golang-migrate waits for 15 s for its lock.
	roundPatience = time.Minute
)

// raced are the migrations that all of them want to apply. Two build indexes beside those who write, which waits for every
// transaction that is open, also for one of a migrator that waits for its turn.
var raced = files(
	"CREATE TABLE files (id bigint PRIMARY KEY, name text NOT NULL); INSERT INTO files SELECT g, 'file ' || g FROM generate_series(1, 1000) g",
	"ALTER TABLE files ADD COLUMN kind text",
	"CREATE INDEX CONCURRENTLY files_name ON files (name)",
	"UPDATE files SET kind = 'photo'",
	"CREATE INDEX CONCURRENTLY files_kind ON files (kind)",
)

// round is how one went.
type round struct {
	applied   int   // migrators that applied something
	failed    int   // … and that ended with an error
	deadlocks int64 // that PostgreSQL has ended
	invalid   int64 // indexes left invalid
	whole     bool  // the version is the last one, and nothing is dirty
	seconds   float64
}

// good says whether one migrator has done it all, and the others nothing.
func (r round) good() bool {
	return r.applied == 1 && r.failed == 0 && r.deadlocks == 0 && r.invalid == 0 && r.whole
}

// migrators lets many migrate one database at the same time, as the replicas of an application do that migrates when it
// starts. Each has connections of its own.
func migrators(ctx context.Context, s size) ([]Measure, error) {
	server, err := start(ctx, nil)
	if err != nil {
		return nil, err
	}
	defer server.Close()
	own, err := race(ctx, server, "ours", s.of(oursRounds), func(ctx context.Context, address string) (bool, error) {
		outcome, err := ours(ctx, address, raced)
		return len(outcome.Applied) > 0, err
	})
	if err != nil {
		return nil, err
	}
	stock, err := race(ctx, server, "golang_migrate", s.of(theirRounds), func(ctx context.Context, address string) (bool, error) {
		err := theirs(ctx, address, raced)
		if errors.Is(err, migrate.ErrNoChange) {
			return false, nil
		}
		return err == nil, err
	})
	if err != nil {
		return nil, err
	}
	each := func(of func(round) float64) (a, b []float64) {
		for _, r := range own {
			a = append(a, of(r))
		}
		for _, r := range stock {
			b = append(b, of(r))
		}
		return a, b
	}
	// total compares what should never be, as a mean of the rounds.
	total := func(name, unit string, of func(round) float64) Measure {
		a, b := each(of)
		return against(fmt.Sprintf("%d migrators at once, %d rounds of ours, %d of golang-migrate: %s", atOnce, len(own), len(stock), name), unit, mean(a), mean(b), 0)
	}
	a, b := each(func(r round) float64 { return r.seconds })
	return []Measure{
		total("rounds in which not one of them did it all, and once", "of 1", func(r round) float64 { return one(!r.good()) }),
		total("that ended with an error", "a round", func(r round) float64 { return float64(r.failed) }),
		total("deadlocks", "a round", func(r round) float64 { return float64(r.deadlocks) }),
		total("invalid indexes left", "a round", func(r round) float64 { return float64(r.invalid) }),
		reported(fmt.Sprintf("%d migrators at once: until all have ended", atOnce), "s", a, b),
	}, nil
}

func one(yes bool) float64 {
	if yes {
		return 1
	}
	return 0
}

func mean(values []float64) (m float64) {
	for _, v := range values {
		m += v / float64(len(values))
	}
	return m
}

// race runs rounds, each on a database of its own.
func race(ctx context.Context, server *host.Postgres, name string, rounds int, up func(context.Context, string) (applied bool, err error)) ([]round, error) {
	var all []round
	for n := range rounds {
		database := fmt.Sprintf("bench_%s_%d", name, n)
		address, err := server.CreateDatabase(ctx, database)
		if err != nil {
			return all, err
		}
		r, err := compete(ctx, address, server.URL("postgres"), database, up)
		if err != nil {
			return all, err
		}
		all = append(all, r)
		fmt.Fprintf(os.Stderr, "bench: round %d of %s: %d applied something, %d failed, %d deadlocks, %d invalid indexes, %.1f s\n", n+1, name, r.applied, r.failed, r.deadlocks, r.invalid, r.seconds)
		if err := server.DropDatabase(ctx, database); err != nil {
			return all, err
		}
	}
	return all, nil
}

func compete(ctx context.Context, address, others, database string, up func(context.Context, string) (bool, error)) (r round, err error) {
	bounded, cancel := context.WithTimeout(ctx, roundPatience)
	defer cancel()
	var group sync.WaitGroup
	var mu sync.Mutex
	begun := time.Now()
	for range atOnce {
		group.Go(func() {
			applied, err := up(bounded, address)
			mu.Lock()
			defer mu.Unlock()
			if applied {
				r.applied++
			}
			if err != nil {
				r.failed++
			}
		})
	}
	group.Wait()
	r.seconds = time.Since(begun).Seconds()
	if ctx.Err() != nil {
		return r, context.Cause(ctx)
	}
	// What a session has counted, it reports when it ends; golang-migrate may have left some that wait for a lock.
	const sessions = "SELECT count(*) FROM pg_stat_activity WHERE datname = $1"
	if _, err := ask[int64](ctx, others, "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE datname = $1", database); err != nil {
		return r, err
	}
	for left := int64(1); left > 0; {
		if left, err = ask[int64](ctx, others, sessions, database); err != nil {
			return r, err
		}
		if err := pg.Pause(ctx, 10*time.Millisecond); err != nil {
			return r, err
		}
	}
	if r.deadlocks, err = ask[int64](ctx, others, "SELECT deadlocks FROM pg_stat_database WHERE datname = $1", database); err != nil {
		return r, err
	}
	if r.invalid, err = ask[int64](ctx, address, "SELECT count(*) FROM pg_index WHERE NOT indisvalid"); err != nil {
		return r, err
	}
	r.whole, err = ask[bool](ctx, address, "SELECT count(*) = 1 AND bool_and(version = $1 AND NOT dirty) FROM schema_migrations", len(raced))
	return r, err
}
