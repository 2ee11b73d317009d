package migrations

import (
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"

	"github.com/metaextract/pipeline/internal/pg"
)

// drizzleTable is where drizzle-orm remembers what it applied, in the schema "drizzle" unless told otherwise.
const drizzleTable = "__drizzle_migrations"

// foreign is ErrForeign when drizzle-orm has migrated the database and we have not: applying the folder from the start
// would run everything again, and fail at the first CREATE TABLE at best.
func (d *driver) foreign() error {
	var schema string
	err := d.conn.QueryRow(d.ctx, `
		SELECT n.nspname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
		WHERE c.relname = $1 AND c.relkind IN ('r', 'p') ORDER BY n.nspname = 'drizzle' DESC, n.nspname LIMIT 1`, drizzleTable).Scan(&schema)
	if errors.Is(err, pgx.ErrNoRows) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("look for drizzle-orm's table: %w", pg.Ended(d.ctx, err))
	}
	var applied int64
	if err := d.conn.QueryRow(d.ctx, "SELECT count(*) FROM "+pg.Name(schema, drizzleTable)).Scan(&applied); err != nil {
		return fmt.Errorf("count drizzle-orm's migrations: %w", pg.Ended(d.ctx, err))
	}
	if applied == 0 {
		return nil
	}
	return fmt.Errorf("%s.%s lists %d migrations that drizzle-orm applied, but there is no version in %s: %w; "+
		"they are not run again. Let one tool migrate: take the migrate() call out of the application, then write the version of the last one applied (its \"when\") into %s",
		schema, drizzleTable, applied, d.table.name(), ErrForeign, d.table.name())
}
