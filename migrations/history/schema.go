package history

import (
	"context"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"

	"github.com/metaextract/pipeline/internal/pg"
)

const schemaColumns = `one boolean PRIMARY KEY DEFAULT true CHECK (one), entry bigint NOT NULL, sha256 text NOT NULL, snapshot jsonb NOT NULL,
	taken_at timestamptz NOT NULL DEFAULT clock_timestamp()`

// SaveSchema keeps what the schema looks like after the last entry of the record, in place of what was kept before.
func (t Tables) SaveSchema(ctx context.Context, q querier, snapshot []byte, sha256 string) error {
	_, err := q.Exec(ctx, `INSERT INTO `+t.name(schemas)+` (entry, sha256, snapshot)
		SELECT coalesce(max(id), 0), $1, $2::jsonb FROM `+t.name(record)+`
		ON CONFLICT (one) DO UPDATE SET entry = excluded.entry, sha256 = excluded.sha256, snapshot = excluded.snapshot, taken_at = excluded.taken_at`,
		sha256, string(snapshot))
	if err != nil {
		return fmt.Errorf("record the schema: %w", pg.Ended(ctx, err))
	}
	return nil
}

// RecordedSchema is what was kept of the schema after the last entry; nil where nothing was, or where a run has ended since without
// keeping it.
func (t Tables) RecordedSchema(ctx context.Context, conn *pgx.Conn) (snapshot []byte, err error) {
	err = conn.QueryRow(ctx, `SELECT snapshot::text FROM `+t.name(schemas)+`
		WHERE entry = (SELECT coalesce(max(id), 0) FROM `+t.name(record)+`)`).Scan(&snapshot)
	switch {
	case errors.Is(err, pgx.ErrNoRows), missing(err):
		return nil, nil
	case err != nil:
		return nil, fmt.Errorf("read the recorded schema: %w", pg.Ended(ctx, err))
	}
	return snapshot, nil
}
