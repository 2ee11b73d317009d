// Package history is what a database remembers of its migrations: golang-migrate's version, and beside it a record of every
// run, who made it and what it did. It writes nothing but its own tables.
package history

import (
	"context"
	"errors"
	"fmt"

	"github.com/jackc/pgerrcode"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/metaextract/pipeline/internal/pg"
)

// The tables. All are in the schema that the session's search path names first.
const (
	// StockVersion is golang-migrate's table, in its own form: one row, (version, dirty). Its command line reads what we
	// write and the other way round.
	StockVersion = "schema_migrations"
	// OwnVersion is of the same form and stands in where schema_migrations is another tool's: Rails, dbmate and runners made
	// by hand call theirs so. golang-migrate's command line reads it with x-migrations-table=deploy_schema_migrations.
	OwnVersion = "deploy_schema_migrations"
	record     = "deploy_migrations"
	releases   = "deploy_releases"
	schemas    = "deploy_catalog"
)

// Names are those of all the tables here, which are no part of an application's schema.
var Names = []string{StockVersion, OwnVersion, record, releases, schemas, "deploy_backfills"}

// NoVersion is that of a database without migrations, as golang-migrate's database.NilVersion.
const NoVersion int64 = -1

// Tables are the tables of one database.
type Tables struct {
	Database string
	Schema   string
	Version  string // StockVersion or OwnVersion
	Foreign  bool   // schema_migrations is another tool's
}

// Find looks which tables a session's database has. It writes nothing.
func Find(ctx context.Context, conn *pgx.Conn) (Tables, error) {
	var t Tables
	var schema *string
	if err := conn.QueryRow(ctx, "SELECT current_database(), current_schema()").Scan(&t.Database, &schema); err != nil {
		return t, fmt.Errorf("look at database: %w", pg.Ended(ctx, err))
	}
	if schema == nil {
		return t, fmt.Errorf("database %s: no schema of the search path exists: create it, or set another search_path in the URL", t.Database)
	}
	t.Schema, t.Version = *schema, StockVersion
	var there, ours bool
	err := conn.QueryRow(ctx, `
		SELECT count(*) > 0,
			count(*) FILTER (WHERE a.attname = 'version' AND a.atttypid IN ('int8'::regtype, 'int4'::regtype)) = 1
			AND count(*) FILTER (WHERE a.attname = 'dirty' AND a.atttypid = 'bool'::regtype) = 1
		FROM pg_attribute a WHERE a.attrelid = to_regclass($1) AND a.attnum > 0 AND NOT a.attisdropped`,
		pg.Name(*schema, StockVersion)).Scan(&there, &ours)
	if err != nil {
		return t, fmt.Errorf("look at %s: %w", StockVersion, pg.Ended(ctx, err))
	}
	var own bool
	if err := conn.QueryRow(ctx, "SELECT to_regclass($1) IS NOT NULL", pg.Name(*schema, OwnVersion)).Scan(&own); err != nil {
		return t, fmt.Errorf("look for %s: %w", OwnVersion, pg.Ended(ctx, err))
	}
	if t.Foreign = there && !ours; t.Foreign || own {
		t.Version = OwnVersion
	}
	return t, nil
}

func (t Tables) name(table string) string { return pg.Name(t.Schema, table) }

// VersionName is the version's table as SQL takes it. It is always written with the schema, for a migration may set
// search_path (those made by pg_dump do).
func (t Tables) VersionName() string { return t.name(t.Version) }

// Create makes the tables that are missing. They are asked for first because CREATE TABLE IF NOT EXISTS needs the privilege
// to create even when there is nothing to do. The caller holds the lock.
func (t Tables) Create(ctx context.Context, conn *pgx.Conn) error {
	for _, table := range []struct{ name, columns string }{
		{t.Version, "version bigint NOT NULL PRIMARY KEY, dirty boolean NOT NULL"},
		{record, recordColumns},
		{releases, releaseColumns},
		{schemas, schemaColumns},
	} {
		var there bool
		if err := conn.QueryRow(ctx, "SELECT to_regclass($1) IS NOT NULL", t.name(table.name)).Scan(&there); err != nil {
			return fmt.Errorf("look for %s: %w", table.name, pg.Ended(ctx, err))
		}
		if there {
			continue
		}
		if _, err := conn.Exec(ctx, "CREATE TABLE "+t.name(table.name)+" ("+table.columns+")"); err != nil {
			return fmt.Errorf("create %s: %w", table.name, pg.Ended(ctx, err))
		}
	}
	return nil
}

// ReadVersion is the version, NoVersion where there is none or no table.
func (t Tables) ReadVersion(ctx context.Context, conn *pgx.Conn) (version int64, dirty bool, err error) {
	err = conn.QueryRow(ctx, "SELECT version, dirty FROM "+t.VersionName()+" LIMIT 1").Scan(&version, &dirty)
	switch {
	case errors.Is(err, pgx.ErrNoRows), missing(err):
		return NoVersion, false, nil
	case err != nil:
		return NoVersion, false, fmt.Errorf("read %s: %w", t.Version, pg.Ended(ctx, err))
	}
	return version, dirty, nil
}

// SetVersion is the SQL that replaces the version. Upstream truncates the table, which takes an AccessExclusive lock and a
// new file each time; a deleted row costs neither.
func (t Tables) SetVersion(version int64, dirty bool) string {
	sql := "DELETE FROM " + t.VersionName() + ";"
	if version >= 0 || dirty {
		sql += fmt.Sprintf("INSERT INTO %s (version, dirty) VALUES (%d, %t);", t.VersionName(), version, dirty)
	}
	return sql
}

// missing says that a table does not exist.
func missing(err error) bool {
	var server *pgconn.PgError
	return errors.As(err, &server) && server.Code == pgerrcode.UndefinedTable
}
