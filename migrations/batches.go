package migrations

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/jackc/pgx/v5"

	"github.com/metaextract/pipeline/migrations/backfill"
	"github.com/metaextract/pipeline/migrations/history"
	"github.com/metaextract/pipeline/migrations/script"
)

// batches runs a backfill, or what an earlier run has left of it. Its own table says how far it is, so a run that is paused
// or fails leaves the version as it was, and the next one goes on.
func (d *driver) batches(s *script.Script) error {
	o := backfill.Options{
		Schema: d.tables.Schema, Version: d.task.Version, Name: d.task.Name, Script: s, URL: d.options.URL,
		LockTimeout: d.options.LockTimeout, RetryBudget: d.options.RetryBudget, Observe: d.options.Backfill,
	}
	if _, err := backfill.Run(d.ctx, d.conn, o); err != nil {
		return fmt.Errorf("%s: %w", s.File, err)
	}
	d.entry.Done = 1
	return d.tables.Progress(d.ctx, d.conn, d.entry.ID, 1, prefix(s, 1).encode())
}

// Pause stops a backfill before its next batch; history.NoVersion means the one that is not done. The run that is at it ends
// with backfill.ErrPaused.
func (m *Migrator) Pause(ctx context.Context, version int64) (backfill.Progress, error) {
	return m.steer(ctx, version, backfill.Pause)
}

// Resume lets a backfill that was paused go on with the next run of Up.
func (m *Migrator) Resume(ctx context.Context, version int64) (backfill.Progress, error) {
	return m.steer(ctx, version, backfill.Resume)
}

func (m *Migrator) steer(ctx context.Context, version int64, act func(context.Context, *pgx.Conn, string, int64) error) (p backfill.Progress, err error) {
	d, err := open(ctx, m.options)
	if err != nil {
		return p, err
	}
	defer d.Close()
	all, err := backfill.List(ctx, d.conn, d.tables.Schema)
	if err != nil {
		return p, err
	}
	i := slices.IndexFunc(all, func(p backfill.Progress) bool {
		return p.Version == version || version == history.NoVersion && p.State != backfill.Done
	})
	if i < 0 {
		return p, errors.New("no backfill of that version has begun and is not done")
	}
	if err := act(ctx, d.conn, d.tables.Schema, all[i].Version); err != nil {
		return p, err
	}
	if all, err = backfill.List(ctx, d.conn, d.tables.Schema); err != nil {
		return p, err
	}
	return all[i], nil
}
