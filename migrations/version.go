package migrations

import (
	"context"
	"errors"
	"fmt"

	"github.com/golang-migrate/migrate/v4/database"
	"github.com/jackc/pgerrcode"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/metaextract/pipeline/internal/pg"
)

// versionTableName is golang-migrate's table, in its own form: one row, (version, dirty). Its command line still reads
// what we write and the other way round.
const versionTableName = "schema_migrations"

// versionTable is golang-migrate's table in a schema. Its name is always written with the schema, for a migration may
// set search_path (those made by pg_dump do).
type versionTable struct{ schema string }

func (t versionTable) name() string { return pg.Name(t.schema, versionTableName) }

// create makes the table where it is missing. It is asked for first because CREATE TABLE IF NOT EXISTS needs the
// privilege to create even when there is nothing to do. The caller holds the lock.
func (t versionTable) create(ctx context.Context, conn *pgx.Conn) error {
	var there bool
	if err := conn.QueryRow(ctx, "SELECT to_regclass($1) IS NOT NULL", t.name()).Scan(&there); err != nil {
		return fmt.Errorf("look for %s: %w", versionTableName, pg.Ended(ctx, err))
	}
	if there {
		return nil
	}
	if _, err := conn.Exec(ctx, "CREATE TABLE "+t.name()+" (version bigint NOT NULL PRIMARY KEY, dirty boolean NOT NULL)"); err != nil {
		return fmt.Errorf("create %s: %w", versionTableName, pg.Ended(ctx, err))
	}
	return nil
}

// read is the row, or database.NilVersion where there is none or no table.
func (t versionTable) read(ctx context.Context, conn *pgx.Conn) (version int, dirty bool, err error) {
	err = conn.QueryRow(ctx, "SELECT version, dirty FROM "+t.name()+" LIMIT 1").Scan(&version, &dirty)
	var server *pgconn.PgError
	switch {
	case errors.Is(err, pgx.ErrNoRows), errors.As(err, &server) && server.Code == pgerrcode.UndefinedTable:
		return database.NilVersion, false, nil
	case err != nil:
		return 0, false, fmt.Errorf("read %s: %w", versionTableName, pg.Ended(ctx, err))
	}
	return version, dirty, nil
}

// set is the SQL that replaces the row. Upstream truncates the table, which takes an AccessExclusive lock and a new file
// each time; a deleted row costs neither.
func (t versionTable) set(version int, dirty bool) string {
	sql := "DELETE FROM " + t.name() + ";"
	if version >= 0 || dirty {
		sql += fmt.Sprintf("INSERT INTO %s (version, dirty) VALUES (%d, %t);", t.name(), version, dirty)
	}
	return sql
}

// repair is what a person runs after having finished, or undone, a migration by hand.
func (t versionTable) repair(finished, undone int) string {
	back := "DELETE FROM " + t.name() // nothing was applied before
	if undone >= 0 {
		back = fmt.Sprintf("UPDATE %s SET version = %d, dirty = false", t.name(), undone)
	}
	return fmt.Sprintf("UPDATE %s SET dirty = false; (finished, version %d) or %s; (undone)", t.name(), finished, back)
}
