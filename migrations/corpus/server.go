package corpus

import (
	"context"
	"errors"
	"fmt"

	"github.com/jackc/pgerrcode"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/metaextract/pipeline/internal/pg"
)

const (
	extension = "pg_stat_statements"
	// schema is where the extension is installed, out of the way of the application's names.
	schema = "pipeline_statements"
	// All as the name of a database is every database of the server, also those that are gone: test runners make and drop
	// databases as they go.
	All = "*"
)

// ErrNotLoaded means that the server does not record statements.
var ErrNotLoaded = errors.New("the server does not record statements: set shared_preload_libraries = 'pg_stat_statements' and restart it")

// ErrNotInstalled means that the database does not have the extension by which the statements are read.
var ErrNotInstalled = errors.New("pg_stat_statements is not installed in the database: CREATE EXTENSION pg_stat_statements")

// Enable makes the statistics readable, in a schema of their own; what is there already stays where it is. The server records
// all its databases, so it may be done in any of them: done in another than the application's, it leaves no trace in the
// application's schema. It needs a superuser, or CREATE on the database where an administrator has trusted the extension.
// Where the server does not record statements it makes nothing, and the error is ErrNotLoaded.
func Enable(ctx context.Context, conn *pgx.Conn) error {
	if found, err := home(ctx, conn); err != nil {
		return err
	} else if found != "" {
		return loaded(ctx, conn, found)
	}
	err := pgx.BeginFunc(ctx, conn, func(tx pgx.Tx) error {
		_, err := tx.Exec(ctx, "CREATE SCHEMA IF NOT EXISTS "+schema+"; CREATE EXTENSION IF NOT EXISTS "+extension+" SCHEMA "+schema,
			pgx.QueryExecModeSimpleProtocol)
		if err != nil {
			return fmt.Errorf("install %s (PostgreSQL's contrib package has it; it needs a superuser): %w", extension, pg.Ended(ctx, err))
		}
		return loaded(ctx, conn, schema)
	})
	return err
}

// home is the schema of the extension, "" where there is none.
func home(ctx context.Context, conn *pgx.Conn) (string, error) {
	var name string
	err := conn.QueryRow(ctx, `SELECT n.nspname FROM pg_catalog.pg_extension e JOIN pg_catalog.pg_namespace n ON n.oid = e.extnamespace
		WHERE e.extname = $1`, extension).Scan(&name)
	if err != nil && !errors.Is(err, pgx.ErrNoRows) {
		return "", fmt.Errorf("look for %s: %w", extension, pg.Ended(ctx, err))
	}
	return name, nil
}

// loaded asks the statistics something: only that tells whether the library is loaded, for the setting may be hidden.
func loaded(ctx context.Context, conn *pgx.Conn, home string) error {
	_, err := conn.Exec(ctx, "SELECT FROM "+pg.Name(home, extension)+" LIMIT 1")
	if err != nil {
		return explain(ctx, err)
	}
	return nil
}

func explain(ctx context.Context, err error) error {
	var server *pgconn.PgError
	if errors.As(err, &server) && server.Code == pgerrcode.ObjectNotInPrerequisiteState {
		return ErrNotLoaded
	}
	return fmt.Errorf("read %s: %w", extension, pg.Ended(ctx, err))
}

// Hide keeps what the session sends from now on out of the statistics. It needs a superuser, or SET on the parameter
// pg_stat_statements.track.
func Hide(ctx context.Context, conn *pgx.Conn) error {
	if _, err := conn.Exec(ctx, "SET "+extension+".track = 'none'"); err != nil {
		return fmt.Errorf("keep the session out of %s: %w", extension, pg.Ended(ctx, err))
	}
	return nil
}

// which is the condition that a row is of the databases $1, or of the session's own where they are none.
const which = `CASE WHEN pg_catalog.cardinality($1::text[]) = 0 THEN s.dbid = (SELECT oid FROM pg_catalog.pg_database WHERE datname = pg_catalog.current_database())
	ELSE '` + All + `' = ANY ($1) OR s.dbid IN (SELECT oid FROM pg_catalog.pg_database WHERE datname = ANY ($1)) END`

// Read is what the application has sent to the databases named, or to the session's own, since the last Reset; the most called
// statements come first. Left out is what is not the application's: statements about the schema, the session or a
// transaction; those on system catalogs alone, which tools send; those on the pipeline's own tables, or with pg.Mark; and
// what functions send, for that is part of the schema. The server keeps the most called pg_stat_statements.max statements
// (5,000 by default): Forgotten tells whether that was enough.
//
// It returns ErrNotLoaded where the server does not record statements, and ErrNotInstalled where this database cannot read
// them.
func Read(ctx context.Context, conn *pgx.Conn, source string, databases ...string) ([]Statement, error) {
	found, err := installed(ctx, conn)
	if err != nil {
		return nil, err
	}
	// PostgreSQL 13 has no column toplevel, hence to_jsonb. A text is NULL where the server has lost it.
	rows, err := conn.Query(ctx, `SELECT `+pg.Mark+` coalesce(s.query, $2), sum(s.calls)::bigint, sum(s.rows)::bigint, $3::text
		FROM `+pg.Name(found, extension)+` s
		WHERE (`+which+`) AND (pg_catalog.to_jsonb(s) ->> 'toplevel') IS DISTINCT FROM 'false'
			AND coalesce(s.query, '') NOT LIKE '%`+pg.Mark+`%'
		GROUP BY 1`, list(databases), Hidden, source)
	if err != nil {
		return nil, explain(ctx, err)
	}
	recorded, err := pgx.CollectRows(rows, pgx.RowToStructByPos[Statement])
	if err != nil {
		return nil, explain(ctx, err)
	}
	var statements []Statement
	for _, s := range recorded {
		if s.SQL != Hidden {
			sql, sends := tidy(s.SQL)
			if !sends || !applications(sql) {
				continue
			}
			s.SQL = sql
		}
		statements = append(statements, s)
	}
	return Merge(statements), nil
}

// Reset forgets the statistics of the databases named, or of the session's own: everybody's, so not on a server whose
// statistics somebody else reads. It needs a superuser, or EXECUTE on pg_stat_statements_reset.
func Reset(ctx context.Context, conn *pgx.Conn, databases ...string) error {
	found, err := installed(ctx, conn)
	if err != nil {
		return err
	}
	_, err = conn.Exec(ctx, `SELECT `+pg.Name(found, extension+"_reset")+`(0, s.dbid, 0)
		FROM (SELECT DISTINCT s.dbid FROM `+pg.Name(found, extension)+`(false) s WHERE `+which+`) s`, list(databases))
	if err != nil {
		return explain(ctx, err)
	}
	return nil
}

// Forgotten is how often the server has dropped the least called statements to make room since all statistics were reset:
// above 0 the corpus is not complete, and pg_stat_statements.max should be higher. It is 0 before PostgreSQL 14, which does
// not tell.
func Forgotten(ctx context.Context, conn *pgx.Conn) (int64, error) {
	found, err := installed(ctx, conn)
	if err != nil {
		return 0, err
	}
	info := pg.Name(found, extension+"_info")
	var there bool
	if err := conn.QueryRow(ctx, "SELECT pg_catalog.to_regclass($1) IS NOT NULL", info).Scan(&there); err != nil || !there {
		return 0, err
	}
	var n int64
	if err := conn.QueryRow(ctx, "SELECT dealloc FROM "+info).Scan(&n); err != nil {
		return 0, explain(ctx, err)
	}
	return n, nil
}

// installed is the extension's schema; an error says what to do where there is none.
func installed(ctx context.Context, conn *pgx.Conn) (string, error) {
	found, err := home(ctx, conn)
	if err == nil && found == "" {
		err = fmt.Errorf("read the statements of database %s: %w", conn.Config().Database, ErrNotInstalled)
	}
	return found, err
}

func list(databases []string) []string {
	if databases == nil {
		return []string{}
	}
	return databases
}
