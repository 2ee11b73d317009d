package history

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/metaextract/pipeline/internal/pg"
)

// Release is a release of the application that has migrated the database, or ran on it when another one did.
type Release struct {
	Name    string    `json:"release"`
	Version int64     `json:"version"` // the last migration it knew
	FirstAt time.Time `json:"first_at"`
	// Floor is why no older release works on the schema any more; "" where older ones do.
	Floor string `json:"floor,omitempty"`
}

const releaseColumns = `release text PRIMARY KEY, version bigint NOT NULL, first_at timestamptz NOT NULL DEFAULT clock_timestamp(), floor text`

// ErrBelowFloor means that a release is older than the schema allows.
var ErrBelowFloor = errors.New("the release is below the schema's floor")

// Saw writes that a release runs on the database. What is known of it stays.
func (t Tables) Saw(ctx context.Context, q querier, name string, version int64) error {
	_, err := q.Exec(ctx, `INSERT INTO `+t.name(releases)+` (release, version) VALUES ($1, $2)
		ON CONFLICT (release) DO UPDATE SET version = greatest(`+releases+`.version, excluded.version)`, name, version)
	if err != nil {
		return fmt.Errorf("write release %s: %w", name, pg.Ended(ctx, err))
	}
	return nil
}

// RaiseFloor writes that releases before this one do not work on the schema any more, and why.
func (t Tables) RaiseFloor(ctx context.Context, q querier, name, why string) error {
	tag, err := q.Exec(ctx, "UPDATE "+t.name(releases)+" SET floor = $2 WHERE release = $1", name, why)
	if err != nil {
		return fmt.Errorf("raise schema floor to %s: %w", name, pg.Ended(ctx, err))
	}
	if tag.RowsAffected() == 0 {
		return fmt.Errorf("raise schema floor to %s: no such release is known", name)
	}
	return nil
}

// Releases lists the releases in the order in which the database saw them; empty where there is no record.
func (t Tables) Releases(ctx context.Context, conn *pgx.Conn) ([]Release, error) {
	rows, err := conn.Query(ctx, "SELECT release, version, first_at, coalesce(floor, '') FROM "+t.name(releases)+" ORDER BY first_at, release")
	if err == nil {
		var list []Release
		if list, err = pgx.CollectRows(rows, pgx.RowToStructByPos[Release]); err == nil {
			return list, nil
		}
	}
	if missing(err) {
		return nil, nil
	}
	return nil, fmt.Errorf("read releases: %w", pg.Ended(ctx, err))
}

// Allows says whether an application of a release works on the schema: nil, or an error that is ErrBelowFloor and says
// which migration raised the floor above it. A release that the database never saw cannot be told to work once a floor has
// been raised.
func Allows(known []Release, name string) error {
	floor := -1
	for i, r := range known {
		if r.Floor != "" {
			floor = i
		}
	}
	if floor < 0 {
		return nil
	}
	for i, r := range known {
		if r.Name != name {
			continue
		}
		if i >= floor {
			return nil
		}
		return fmt.Errorf("release %s is older than %s, and %s: %w; go back to %s at most, or restore the backup from before",
			name, known[floor].Name, known[floor].Floor, ErrBelowFloor, known[floor].Name)
	}
	return fmt.Errorf("release %s never ran on this database, whose schema needs %s or newer (%s), so it is not known to work: %w",
		name, known[floor].Name, known[floor].Floor, ErrBelowFloor)
}
