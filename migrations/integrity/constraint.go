package integrity

import (
	"context"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/metaextract/pipeline/internal/pg"
	"github.com/metaextract/pipeline/migrations/finding"
)

// constraint is one, of a table or domain.
type constraint struct {
	Schema, Table, Name string
	Domain              bool
	Validated           bool
}

func (k constraint) object() string {
	return fmt.Sprintf("constraint %s.%s.%s", k.Schema, k.Table, k.Name)
}

// validate is SQL that has the server look at the rows itself.
func (k constraint) validate() string {
	kind := "TABLE"
	if k.Domain {
		kind = "DOMAIN"
	}
	return fmt.Sprintf("ALTER %s %s VALIDATE CONSTRAINT %s;", kind, pg.Name(k.Schema, k.Table), pg.Name(k.Name))
}

// level is what rows that break it do: one that is NOT VALID claims nothing about them.
func (k constraint) level() finding.Level {
	if k.Validated {
		return finding.Refuse
	}
	return finding.Warn
}

// unchecked is the finding that its rows could not be looked at.
func (k constraint) unchecked(why string) finding.Finding {
	return finding.Finding{Name: UncheckedConstraint, Level: finding.Note, Basis: finding.Measured, Object: k.object(),
		Message: fmt.Sprintf("%s could not be checked: %s", k.object(), why)}
}

// enforced is the condition that a constraint con is meant to hold: PostgreSQL 18 has some that are not.
const enforced = ` (to_jsonb(con) ->> 'conenforced') IS DISTINCT FROM 'false' `

// constraints finds those that are NOT VALID. Those of partitions are told with their root.
func (c *check) constraints(ctx context.Context) error {
	return c.look(ctx, `
		SELECT n.nspname, coalesce(c.relname, t.typname), con.conname, con.contypid <> 0, con.convalidated
		FROM pg_constraint con LEFT JOIN pg_class c ON c.oid = con.conrelid LEFT JOIN pg_type t ON t.oid = con.contypid
			JOIN pg_namespace n ON n.oid = coalesce(c.relnamespace, t.typnamespace)
		WHERE NOT con.convalidated AND con.conparentid = 0 AND coalesce(c.relpersistence, '') <> 't' AND`+enforced+"AND"+users,
		func(r pgx.CollectableRow) error {
			k, err := pgx.RowToStructByPos[constraint](r)
			if err != nil {
				return err
			}
			c.found(finding.Finding{Name: NotValidConstraint, Level: finding.Note, Basis: finding.Catalog, Object: k.object(),
				Message: fmt.Sprintf("%s is NOT VALID: rows from before it was made may break it", k.object()), Fix: k.validate()})
			return nil
		})
}

// triggers finds constraints whose triggers do not fire: ALTER TABLE … DISABLE TRIGGER ALL stops foreign keys on both sides, and
// what makes unique constraints deferrable.
func (c *check) triggers(ctx context.Context) error {
	return c.look(ctx, `
		SELECT n.nspname, c.relname, con.conname, tn.nspname, tc.relname
		FROM pg_trigger t JOIN pg_constraint con ON con.oid = t.tgconstraint JOIN pg_class c ON c.oid = con.conrelid JOIN pg_namespace n ON n.oid = c.relnamespace
			JOIN pg_class tc ON tc.oid = t.tgrelid JOIN pg_namespace tn ON tn.oid = tc.relnamespace
		WHERE t.tgisinternal AND t.tgenabled IN ('D', 'R') AND c.relpersistence <> 't' AND`+users+`GROUP BY 1, 2, 3, 4, 5`,
		func(r pgx.CollectableRow) error {
			var k constraint
			var schema, table string
			if err := r.Scan(&k.Schema, &k.Table, &k.Name, &schema, &table); err != nil {
				return err
			}
			f := finding.Finding{Name: DisabledTrigger, Level: finding.Warn, Basis: finding.Catalog, Object: k.object(),
				Message: fmt.Sprintf("%s is not enforced when rows of %s.%s change: its triggers are disabled there", k.object(), schema, table),
				Fix:     "ALTER TABLE " + pg.Name(schema, table) + " ENABLE TRIGGER ALL; -- and look for rows that broke it meanwhile"}
			if schema != k.Schema || table != k.Table {
				f.Object += " on " + schema + "." + table
			}
			c.found(f)
			return nil
		})
}

// foreignKey is a foreign key with what its query needs.
type foreignKey struct {
	constraint
	full     bool // MATCH FULL
	period   bool
	child    string // FROM
	parent   string
	columns  []string // of the child
	keys     []string // of the parent, in the same order
	equal    []string // operators, the parent's key on the left
	collates []string // COLLATE for the parent's keys, where the child's columns have another collation
}

// foreignKeys looks for rows whose parent is not there. The operators are those that the constraint itself uses.
func (c *check) foreignKeys(ctx context.Context) error {
	if !c.options.Scan {
		return nil
	}
	var keys []foreignKey
	err := c.look(ctx, `
		SELECT n.nspname, c.relname, con.conname, con.convalidated, con.confmatchtype = 'f', (to_jsonb(con) ->> 'conperiod') IS NOT DISTINCT FROM 'true',
			CASE c.relkind WHEN 'p' THEN '' ELSE 'ONLY ' END || format('%I.%I', n.nspname, c.relname),
			CASE p.relkind WHEN 'p' THEN '' ELSE 'ONLY ' END || format('%I.%I', pn.nspname, p.relname),
			k.columns, k.keys, k.operators, k.collations
		FROM pg_constraint con JOIN pg_class c ON c.oid = con.conrelid JOIN pg_namespace n ON n.oid = c.relnamespace
			JOIN pg_class p ON p.oid = con.confrelid JOIN pg_namespace pn ON pn.oid = p.relnamespace
			CROSS JOIN LATERAL (
				SELECT array_agg(quote_ident(a.attname) ORDER BY u.i) AS columns, array_agg(quote_ident(pa.attname) ORDER BY u.i) AS keys,
					array_agg(format('OPERATOR(%I.%s)', o.nspname, o.oprname) ORDER BY u.i) AS operators,
					array_agg(CASE WHEN pa.attcollation <> a.attcollation THEN ' COLLATE ' || pa.attcollation::regcollation ELSE '' END ORDER BY u.i) AS collations
				FROM unnest(con.conkey, con.confkey, con.conpfeqop) WITH ORDINALITY AS u (child, parent, operator, i)
					JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum = u.child JOIN pg_attribute pa ON pa.attrelid = p.oid AND pa.attnum = u.parent
					JOIN (SELECT o.oid, o.oprname, n.nspname FROM pg_operator o JOIN pg_namespace n ON n.oid = o.oprnamespace) o ON o.oid = u.operator
			) k
		WHERE con.contype = 'f' AND con.conparentid = 0 AND c.relpersistence <> 't' AND`+enforced+"AND"+users+"ORDER BY 1, 2, 3",
		func(r pgx.CollectableRow) error {
			var k foreignKey
			err := r.Scan(&k.Schema, &k.Table, &k.Name, &k.Validated, &k.full, &k.period, &k.child, &k.parent, &k.columns, &k.keys, &k.equal, &k.collates)
			keys = append(keys, k)
			return err
		})
	if err != nil {
		return err
	}
	for _, k := range keys {
		if k.period {
			c.found(k.unchecked("it is over periods of time"))
			continue
		}
		var orphans int64
		err := c.look(ctx, k.orphans(), func(r pgx.CollectableRow) error { return r.Scan(&orphans) })
		if err != nil {
			return fmt.Errorf("%s: %w", k.object(), err)
		}
		if orphans > 0 {
			c.found(finding.Finding{Name: OrphanedRows, Level: k.level(), Basis: finding.Measured, Object: k.object(),
				Message: fmt.Sprintf("%s of %s.%s refer to what is not there (%s)", finding.Count(orphans, "row"), k.Schema, k.Table, k.object()),
				Fix:     "-- look at them:\n" + k.query("c.*") + ";"})
		}
	}
	return nil
}

func (k foreignKey) orphans() string { return k.query(pg.Mark + " count(*)") }

// query selects rows c of the child that the constraint does not allow, as the server's own RI_Initial_Check
// (src/backend/utils/adt/ri_triggers.c) does: under MATCH SIMPLE a null in any column lets a row pass, under MATCH FULL only
// nulls in all.
func (k foreignKey) query(what string) string {
	var joins, given []string
	for i, column := range k.columns {
		joins = append(joins, fmt.Sprintf("p.%s%s %s c.%s", k.keys[i], k.collates[i], k.equal[i], column))
		given = append(given, "c."+column+" IS NOT NULL")
	}
	match := " AND "
	if k.full {
		match = " OR "
	}
	return fmt.Sprintf("SELECT %s FROM %s c LEFT JOIN %s p ON %s WHERE p.%s IS NULL AND (%s)",
		what, k.child, k.parent, strings.Join(joins, " AND "), k.keys[0], strings.Join(given, match))
}
