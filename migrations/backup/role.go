package backup

import (
	"context"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/metaextract/pipeline/internal/pg"
)

// role is a role of the server, as far as a copy needs it: to own what it owns, to have what it was granted, and to see what
// it sees when the server computes something in its name (a materialized view, an index).
type role struct {
	Name      string   `json:"name"`
	Super     bool     `json:"super,omitempty"` // or the owner of what only a superuser may own, on servers that see it otherwise
	Inherit   bool     `json:"inherit"`
	BypassRLS bool     `json:"bypass_rls,omitempty"`
	MemberOf  []string `json:"member_of,omitempty"`
}

// roles lists those of a session's server that PostgreSQL does not bring along.
func roles(ctx context.Context, conn *pgx.Conn) ([]role, error) {
	rows, err := conn.Query(ctx, `SELECT r.rolname::text, r.rolsuper OR EXISTS (SELECT FROM pg_catalog.pg_event_trigger WHERE evtowner = r.oid)
			OR EXISTS (SELECT FROM pg_catalog.pg_foreign_data_wrapper WHERE fdwowner = r.oid), r.rolinherit, r.rolbypassrls,
			ARRAY(SELECT pg_catalog.pg_get_userbyid(m.roleid)::text FROM pg_catalog.pg_auth_members m WHERE m.member = r.oid ORDER BY 1)
		FROM pg_catalog.pg_roles r WHERE NOT pg_catalog.starts_with(r.rolname, 'pg_') ORDER BY 1`)
	if err == nil {
		var list []role
		if list, err = pgx.CollectRows(rows, pgx.RowToStructByPos[role]); err == nil {
			return list, nil
		}
	}
	return nil, fmt.Errorf("list roles: %w", pg.Ended(ctx, err))
}

// makeRoles adds roles to a scratch server, so that owners, privileges and policies can be restored, and so that migrations
// can name them. None can log in. A membership in a role that this server does not have is left out.
func makeRoles(ctx context.Context, conn *pgx.Conn, list []role) error {
	there := map[string]bool{}
	rows, err := conn.Query(ctx, "SELECT rolname FROM pg_catalog.pg_roles")
	var name string
	if err == nil {
		_, err = pgx.ForEachRow(rows, []any{&name}, func() error {
			there[name] = true
			return nil
		})
	}
	var make, grant strings.Builder
	for _, r := range list {
		if !there[r.Name] {
			fmt.Fprintf(&make, "CREATE ROLE %s NOLOGIN%s%s%s;", pg.Name(r.Name), option(" SUPERUSER", r.Super), option(" NOINHERIT", !r.Inherit), option(" BYPASSRLS", r.BypassRLS))
			there[r.Name] = true
		}
	}
	for _, r := range list {
		for _, group := range r.MemberOf {
			if there[group] {
				fmt.Fprintf(&grant, "GRANT %s TO %s;", pg.Name(group), pg.Name(r.Name))
			}
		}
	}
	if err == nil {
		_, err = conn.Exec(ctx, make.String()+grant.String(), pgx.QueryExecModeSimpleProtocol)
	}
	if err != nil {
		return fmt.Errorf("add the roles of the database to the scratch server: %w", pg.Ended(ctx, err))
	}
	return nil
}

func option(word string, yes bool) string {
	if yes {
		return word
	}
	return ""
}
