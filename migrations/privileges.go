package migrations

import (
	"errors"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/metaextract/pipeline/internal/pg"
	"github.com/metaextract/pipeline/migrations/history"
)

// backfills is the table that package backfill makes when it needs it.
const backfills = "deploy_backfills"

// access is what a user may do with one of the history's tables.
type access struct {
	Table   string
	There   bool
	Lacks   []string // of SELECT, INSERT, UPDATE and DELETE
	Hidden  bool     // row-level security hides rows
	User    string
	Create  bool // in the schema
	Standby bool
}

// access looks at the history's tables before anything is done: a run that may write one and not the next would leave half of
// a history. Row-level security is the worst of it, for it answers without an error that nothing is applied.
func (d *driver) access() ([]access, error) {
	names := []string{d.tables.Version}
	for _, name := range history.Names {
		if name != history.StockVersion && name != history.OwnVersion {
			names = append(names, name)
		}
	}
	rows, err := d.conn.Query(d.ctx, `SELECT t.name, c.oid IS NOT NULL,
			ARRAY(SELECT p FROM unnest(ARRAY['SELECT', 'INSERT', 'UPDATE', 'DELETE']) WITH ORDINALITY AS o (p, i) WHERE NOT has_table_privilege(c.oid, p) ORDER BY i),
			coalesce(row_security_active(c.oid), false), current_user::text, has_schema_privilege(n.oid, 'CREATE'), pg_is_in_recovery()
		FROM unnest($1::text[]) AS t (name) JOIN pg_namespace n ON n.nspname = $2
		LEFT JOIN pg_class c ON c.relnamespace = n.oid AND c.relname = t.name`, names, d.tables.Schema)
	if err == nil {
		var all []access
		if all, err = pgx.CollectRows(rows, pgx.RowToStructByPos[access]); err == nil {
			return all, nil
		}
	}
	return nil, fmt.Errorf("look at privileges: %w", pg.Ended(d.ctx, err))
}

// readable is an error where the user cannot know what is applied.
func (d *driver) readable() error {
	all, err := d.access()
	if err != nil {
		return err
	}
	for _, a := range all {
		name := pg.Name(d.tables.Schema, a.Table)
		switch {
		case len(a.Lacks) > 0 && a.Lacks[0] == "SELECT":
			return fmt.Errorf("user %s may not read %s, so what is applied is not known: GRANT SELECT ON %[2]s TO %s", a.User, name, pg.Name(a.User))
		case a.Hidden:
			return fmt.Errorf("row-level security hides rows of %s from user %s, so what is applied is not known: ALTER TABLE %[1]s DISABLE ROW LEVEL SECURITY, or migrate as its owner", name, a.User)
		}
	}
	return nil
}

// writable is an error where the user could not write down what a run does. It names all that is missing, and what to grant.
func (d *driver) writable() error {
	all, err := d.access()
	if err != nil {
		return err
	}
	var lacks, grants []string
	var user string
	create := false
	for _, a := range all {
		if a.Standby {
			return errors.New("the server is a standby, which can only be read: name the primary in the database's URL")
		}
		user = a.User
		if !a.There {
			create = create || !a.Create && a.Table != backfills
		} else if len(a.Lacks) > 0 {
			name, privileges := pg.Name(d.tables.Schema, a.Table), strings.Join(a.Lacks, ", ")
			lacks = append(lacks, privileges+" on "+name)
			grants = append(grants, "GRANT "+privileges+" ON "+name+" TO "+pg.Name(user))
		}
	}
	if create {
		lacks = append(lacks, "CREATE in schema "+pg.Name(d.tables.Schema)+", where the history of migrations is kept")
		grants = append(grants, "GRANT CREATE ON SCHEMA "+pg.Name(d.tables.Schema)+" TO "+pg.Name(user))
	}
	if len(lacks) == 0 {
		return nil
	}
	return fmt.Errorf("user %s lacks %s; nothing was done: %s", user, strings.Join(lacks, "; "), strings.Join(grants, "; "))
}

// unusable explains why no schema was found to work in, where there is one that the user may not use.
func (d *driver) unusable(err error) error {
	if d.conn.IsClosed() {
		return err
	}
	var user, schema string
	if d.conn.QueryRow(d.ctx, `SELECT current_user::text, nspname::text FROM pg_namespace
		WHERE quote_ident(nspname) = ANY (regexp_split_to_array(current_setting('search_path'), '\s*,\s*')) AND NOT has_schema_privilege(oid, 'USAGE') LIMIT 1`).Scan(&user, &schema) != nil {
		return err
	}
	return fmt.Errorf("user %s may not use schema %s: GRANT USAGE, CREATE ON SCHEMA %[2]s TO %s", user, pg.Name(schema), pg.Name(user))
}
