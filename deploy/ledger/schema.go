package ledger

import (
	"cmp"
	"context"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"slices"
	"strings"

	"github.com/jackc/pgerrcode"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/metaextract/pipeline/internal/pg"
)

// Schema is where all tables of the ledger are.
const Schema = "pipeline"

// Keys of the transaction's advisory locks, in the database of the ledger: "ledgerNN" as bytes.
const (
	schemaKey int64 = 0x6c65_6467_6572_3031
	auditKey  int64 = 0x6c65_6467_6572_3032
)

//go:embed schema/*.sql
var schemaFiles embed.FS

// steps are the migrations of the ledger's schema: the first makes version 1.
func steps() ([]string, error) {
	names, err := fs.Glob(schemaFiles, "schema/*.sql")
	if err != nil {
		return nil, err
	}
	var list []string
	for _, name := range slices.Sorted(slices.Values(names)) {
		text, err := schemaFiles.ReadFile(name)
		if err != nil {
			return nil, err
		}
		list = append(list, string(text))
	}
	return list, nil
}

// ErrForeignSchema means that the database has a schema pipeline that is not a ledger's.
var ErrForeignSchema = errors.New("the schema pipeline of this database is not a ledger's, and is left alone; use another database for the ledger")

// NewerSchemaError means that a newer pipeline has updated the ledger.
type NewerSchemaError struct{ Found, Known int }

func (e *NewerSchemaError) Error() string {
	return fmt.Sprintf("the ledger's schema has version %d, but this pipeline knows %d at most: use the newer pipeline", e.Found, e.Known)
}
func (*NewerSchemaError) refused() {}

// PrivilegeError means that the role lacks what the ledger needs.
type PrivilegeError struct {
	Role   string
	Grants []string // statements that give it
}

func (e *PrivilegeError) Error() string {
	return fmt.Sprintf("role %s may not use the ledger; its owner, or a superuser, gives it what it needs with: %s", e.Role, strings.Join(e.Grants, " "))
}
func (*PrivilegeError) refused() {}

// needs are the least privileges on the tables, for a role that did not make them.
var needs = map[string][]string{
	"SELECT": {"ledger_schema", "ledger"},
	"SELECT, INSERT": {"audit_records", "audit_hashes", "audit_checkpoints", "transitions", "approvals", "verdicts", "measurements",
		"releases", "plans", "github_deployments"},
	"SELECT, INSERT, UPDATE": {"deployments", "locks", "lock_requests", "github_outbox", "deployment_states"},
}

// prepare makes or updates the schema where that is due, and looks whether the role may use it.
func (l *Ledger) prepare(ctx context.Context) error {
	known, err := steps()
	if err != nil {
		return err
	}
	var version int
	err = l.write(ctx, "look at the schema", func(ctx context.Context, tx pgx.Tx) (err error) {
		version, err = schemaVersion(ctx, tx)
		return err
	})
	if err != nil {
		return err
	}
	if version < len(known) {
		err = l.write(ctx, "make the schema", func(ctx context.Context, tx pgx.Tx) error { return migrate(ctx, tx, known) })
		if err != nil {
			return err
		}
	} else if version > len(known) {
		return &NewerSchemaError{Found: version, Known: len(known)}
	}
	return l.write(ctx, "look at the ledger", func(ctx context.Context, tx pgx.Tx) error {
		if err := checkPrivileges(ctx, tx); err != nil {
			return err
		}
		return tx.QueryRow(ctx, "SELECT id FROM pipeline.ledger").Scan(&l.id)
	})
}

// schemaVersion is 0 where there is no schema, or an empty one.
func schemaVersion(ctx context.Context, tx pgx.Tx) (version int, err error) {
	var encoding, role string
	var usage, ours, empty bool
	err = tx.QueryRow(ctx, `SELECT current_setting('server_encoding'), current_user, coalesce(has_schema_privilege(n.oid, 'USAGE'), true),
			EXISTS (SELECT FROM pg_class c WHERE c.relnamespace = n.oid AND c.relname = 'ledger_schema'),
			NOT EXISTS (SELECT FROM pg_class c WHERE c.relnamespace = n.oid)
		FROM (SELECT 1) one LEFT JOIN pg_namespace n ON n.nspname = $1`, Schema).Scan(&encoding, &role, &usage, &ours, &empty)
	switch {
	case err != nil:
		return 0, err
	case encoding != "UTF8":
		return 0, deny("the ledger's database has the encoding %s: make one with ENCODING 'UTF8', as records may hold any text", encoding)
	case empty:
		return 0, nil
	case !ours:
		return 0, refused{ErrForeignSchema}
	case !usage:
		return 0, &PrivilegeError{Role: role, Grants: allGrants(role)}
	}
	err = tx.QueryRow(ctx, "SELECT coalesce(max(version), 0) FROM pipeline.ledger_schema").Scan(&version)
	if denied(err) {
		return 0, &PrivilegeError{Role: role, Grants: allGrants(role)}
	}
	return version, err
}

// migrate brings the schema to the newest version in one transaction. Others wait for it.
func migrate(ctx context.Context, tx pgx.Tx, known []string) error {
	if _, err := tx.Exec(ctx, "SELECT pg_advisory_xact_lock($1)", schemaKey); err != nil {
		return err
	}
	version, err := schemaVersion(ctx, tx) // somebody may have made it meanwhile
	if err != nil || version >= len(known) {
		return err
	}
	var database, role string
	if err := tx.QueryRow(ctx, "SELECT current_database(), current_user").Scan(&database, &role); err != nil {
		return err
	}
	sql := ""
	if version == 0 {
		var there bool
		if err := tx.QueryRow(ctx, "SELECT to_regnamespace('pipeline') IS NOT NULL").Scan(&there); err != nil {
			return err
		}
		if !there {
			sql = "CREATE SCHEMA pipeline;"
		}
		sql += "CREATE TABLE pipeline.ledger_schema (version int PRIMARY KEY, applied_at timestamptz NOT NULL DEFAULT clock_timestamp(), applied_by text NOT NULL DEFAULT session_user);"
	}
	for i := version; i < len(known); i++ {
		sql += known[i] + fmt.Sprintf(";INSERT INTO pipeline.ledger_schema (version) VALUES (%d);", i+1)
	}
	_, err = tx.Exec(ctx, sql)
	if denied(err) {
		grants := []string{"GRANT CREATE ON DATABASE " + pg.Name(database) + " TO " + pg.Name(role) + ";"}
		if version > 0 {
			grants = []string{"run `pipeline status` once as the owner of the schema pipeline, which updates it;"}
		} else if !strings.HasPrefix(sql, "CREATE SCHEMA") {
			grants = []string{"GRANT CREATE, USAGE ON SCHEMA pipeline TO " + pg.Name(role) + ";"}
		}
		return &PrivilegeError{Role: role, Grants: grants}
	}
	return err
}

func checkPrivileges(ctx context.Context, tx pgx.Tx) error {
	var role string
	var missing []string
	for _, privileges := range slices.Sorted(maps.Keys(needs)) {
		var lacking []string
		err := tx.QueryRow(ctx, `SELECT current_user, array_agg(t ORDER BY t) FILTER (WHERE NOT (
				SELECT bool_and(has_table_privilege(format('pipeline.%I', t), p)) FROM unnest($2::text[]) p))
			FROM unnest($1::text[]) t`, needs[privileges], strings.Split(privileges, ", ")).Scan(&role, &lacking)
		if err != nil {
			return err
		}
		if lacking != nil {
			missing = append(missing, grant(privileges, lacking, role))
		}
	}
	if missing != nil {
		return &PrivilegeError{Role: role, Grants: missing}
	}
	return nil
}

func allGrants(role string) []string {
	grants := []string{"GRANT USAGE ON SCHEMA pipeline TO " + pg.Name(role) + ";"}
	for _, privileges := range slices.Sorted(maps.Keys(needs)) {
		grants = append(grants, grant(privileges, needs[privileges], role))
	}
	return grants
}

func grant(privileges string, tables []string, role string) string {
	var names []string
	for _, t := range slices.SortedFunc(slices.Values(tables), cmp.Compare[string]) {
		names = append(names, Schema+"."+t)
	}
	return "GRANT " + privileges + " ON " + strings.Join(names, ", ") + " TO " + pg.Name(role) + ";"
}

func denied(err error) bool {
	var server *pgconn.PgError
	return errors.As(err, &server) && server.Code == pgerrcode.InsufficientPrivilege
}
