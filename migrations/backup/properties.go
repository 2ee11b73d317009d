package backup

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/metaextract/pipeline/internal/pg"
)

// properties are what a server keeps about a database beside it: pg_dump leaves them out where it dumps into a database of
// another name. They may hold secrets (applications keep some in ALTER DATABASE … SET), as the dump itself does.
type properties struct {
	Owner    string    `json:"owner"`
	Limit    int       `json:"limit"` // of connections; -1 for none
	Comment  string    `json:"comment,omitempty"`
	Grants   []grant   `json:"grants,omitempty"`
	Settings []setting `json:"settings,omitempty"`
}

type grant struct {
	To        string `json:"to"` // "" is PUBLIC
	Privilege string `json:"privilege"`
	Option    bool   `json:"option,omitempty"`
}

type setting struct {
	Role  string `json:"role,omitempty"` // "" is every role
	Name  string `json:"name"`
	Value string `json:"value"`
}

// readProperties reads those of a database of the session's server.
func readProperties(ctx context.Context, conn *pgx.Conn, database string) (properties, error) {
	var p properties
	err := conn.QueryRow(ctx, `SELECT pg_catalog.pg_get_userbyid(d.datdba), d.datconnlimit, coalesce(pg_catalog.shobj_description(d.oid, 'pg_database'), ''),
			(SELECT coalesce(pg_catalog.jsonb_agg(pg_catalog.jsonb_build_object('to', CASE WHEN a.grantee = 0 THEN '' ELSE pg_catalog.pg_get_userbyid(a.grantee) END,
				'privilege', a.privilege_type, 'option', a.is_grantable) ORDER BY a.grantee, a.privilege_type), '[]')
				FROM pg_catalog.aclexplode(coalesce(d.datacl, pg_catalog.acldefault('d', d.datdba))) a),
			(SELECT coalesce(pg_catalog.jsonb_agg(pg_catalog.jsonb_build_object('role', CASE WHEN s.setrole = 0 THEN '' ELSE pg_catalog.pg_get_userbyid(s.setrole) END,
				'name', pg_catalog.split_part(c, '=', 1), 'value', pg_catalog.substr(c, pg_catalog.strpos(c, '=') + 1)) ORDER BY s.setrole, c), '[]')
				FROM pg_catalog.pg_db_role_setting s, pg_catalog.unnest(s.setconfig) c WHERE s.setdatabase = d.oid)
		FROM pg_catalog.pg_database d WHERE d.datname = $1`, database).Scan(&p.Owner, &p.Limit, &p.Comment, &p.Grants, &p.Settings)
	if err != nil {
		return p, fmt.Errorf("read the database's properties: %w", pg.Ended(ctx, err))
	}
	return p, nil
}

// apply gives a database the properties, on a session with another database of its server. What the server refuses, as it
// may for roles and parameters that it does not know, is told and not done. Without roles the database stays its maker's.
func (p properties) apply(ctx context.Context, conn *pgx.Conn, database string, roles bool) (notes []string, err error) {
	name := pg.Name(database)
	refused := func(what string, err error) error {
		if conn.IsClosed() || ctx.Err() != nil {
			return fmt.Errorf("give database %s its properties: %w", database, pg.Ended(ctx, err))
		}
		notes = append(notes, fmt.Sprintf("without %s of the database: %s", what, reason(err)))
		return nil
	}
	do := func(what, sql string) error {
		if _, err := conn.Exec(ctx, sql); err != nil {
			return refused(what, err)
		}
		return nil
	}
	if p.Comment != "" {
		if err := do("the comment", "COMMENT ON DATABASE "+name+" IS "+pg.Literal(p.Comment)); err != nil {
			return notes, err
		}
	}
	if p.Limit >= 0 {
		if err := do("the connection limit", fmt.Sprintf("ALTER DATABASE %s CONNECTION LIMIT %d", name, p.Limit)); err != nil {
			return notes, err
		}
	}
	for _, s := range p.Settings {
		if err := set(ctx, conn, database, s); err != nil {
			if err := refused("the setting "+s.Name, err); err != nil {
				return notes, err
			}
		}
	}
	if !roles {
		return notes, nil
	}
	if err := do("the owner", "ALTER DATABASE "+name+" OWNER TO "+pg.Name(p.Owner)); err != nil {
		return notes, err
	}
	if err := do("the privileges", "REVOKE ALL ON DATABASE "+name+" FROM PUBLIC"); err != nil {
		return notes, err
	}
	for _, g := range p.Grants {
		to := "PUBLIC"
		if g.To != "" {
			to = pg.Name(g.To)
		}
		option := ""
		if g.Option {
			option = " WITH GRANT OPTION"
		}
		if err := do(fmt.Sprintf("the privilege %s for %s", g.Privilege, to), "GRANT "+g.Privilege+" ON DATABASE "+name+" TO "+to+option); err != nil {
			return notes, err
		}
	}
	return notes, nil
}

// set gives a database a setting. The value goes through the session, for a list (search_path) written as a literal would
// be one element; and through a transaction of its own, so that the session does not keep it.
func set(ctx context.Context, conn *pgx.Conn, database string, s setting) error {
	sql := "ALTER DATABASE " + pg.Name(database)
	if s.Role != "" {
		sql = "ALTER ROLE " + pg.Name(s.Role) + " IN DATABASE " + pg.Name(database)
	}
	return pgx.BeginFunc(ctx, conn, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, "SELECT pg_catalog.set_config($1, $2, true)", s.Name, s.Value); err != nil {
			return err
		}
		_, err := tx.Exec(ctx, sql+" SET "+pg.Name(strings.Split(s.Name, ".")...)+" FROM CURRENT")
		return err
	})
}

// reason is what a server says of an error, without its details, which may quote rows.
func reason(err error) string {
	var refused *pgconn.PgError
	if errors.As(err, &refused) {
		return refused.Message
	}
	return err.Error()
}
