package main

import (
	"context"
	"fmt"
	"os"
	"slices"
	"time"
)

const (
	emptyMigrations = 500
	overheadBar     = 1.5
)

// overhead measures what migrations cost that do nothing: the whole run on an empty database, tables and history included.
func overhead(ctx context.Context, s size) ([]Measure, error) {
	n := s.of(emptyMigrations)
	folder := files(slices.Repeat([]string{"SELECT 1;"}, n)...)
	sides := []struct {
		name string
		up   func(ctx context.Context, address string) error
	}{
		{"golang-migrate", func(ctx context.Context, address string) error { return theirs(ctx, address, folder) }},
		{"ours", func(ctx context.Context, address string) error {
			outcome, err := ours(ctx, address, folder)
			if err == nil && len(outcome.Applied) != n {
				err = fmt.Errorf("%d migrations were applied of %d", len(outcome.Applied), n)
			}
			return err
		}},
		{"psql", func(ctx context.Context, address string) error { return psql(ctx, address, folder) }},
	}
	var measures []Measure
	for _, fsync := range []string{"on", "off"} {
		server, err := start(ctx, map[string]string{"fsync": fsync})
		if err != nil {
			return measures, err
		}
		defer server.Close()
		seconds := make([][]float64, len(sides))
		for run := range s.runs {
			for i := range sides {
				i = (i + run) % len(sides)
				address, err := server.CreateDatabase(ctx, fmt.Sprintf("bench_%d_%d", run, i))
				if err != nil {
					return measures, err
				}
				if err := execute(ctx, address, "CHECKPOINT"); err != nil { // of the database that was just made
					return measures, err
				}
				begun := time.Now()
				if err := sides[i].up(ctx, address); err != nil {
					return measures, fmt.Errorf("%s: %w", sides[i].name, err)
				}
				seconds[i] = append(seconds[i], time.Since(begun).Seconds())
				fmt.Fprintf(os.Stderr, "bench: %d empty migrations, fsync %s, %s: %.2f s\n", n, fsync, sides[i].name, last(seconds[i]))
			}
		}
		name := fmt.Sprintf("%d empty migrations, fsync %s", n, fsync)
		measures = append(measures, runsAgainst(name, "s", seconds[1], seconds[0], overheadBar), reported(name+", against psql, which keeps no version", "s", seconds[1], seconds[2]))
	}
	return measures, nil
}
