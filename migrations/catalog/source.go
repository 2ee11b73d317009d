package catalog

import (
	"fmt"
	"strings"

	"github.com/metaextract/pipeline/internal/pg"
	"github.com/metaextract/pipeline/migrations/history"
)

// source is where objects are read from: a query over the system catalogs.
type source struct {
	kinds      []string // the kinds of object it yields
	kind       string   // SQL: which of them, where there are several
	name       string   // SQL: the object's name
	properties []property
	from       string // SQL: FROM and what follows
	since      int    // the first version of the server that has them; 0 is every one
}

// property is one of an object.
type property struct {
	name  string
	sql   string // null where it is as by default
	since int
}

// yes is the value of a property that an object has or has not.
const yes = "yes"

// known are the properties that a server has.
func (s source) known(server int) []property {
	var known []property
	for _, p := range s.properties {
		if p.since <= server {
			known = append(known, p)
		}
	}
	return known
}

// query asks for kind, name and the properties in their order.
func (s source) query(server int) string {
	kind := s.kind
	if kind == "" {
		kind = pg.Literal(s.kinds[0])
	}
	var values []string
	for _, p := range s.known(server) {
		values = append(values, "("+p.sql+")::text")
	}
	return "WITH relation AS (" + relations + ") SELECT " + kind + ", " + s.name + ", ARRAY[" + strings.Join(values, ", ") + "]::text[] " + s.from
}

// sources are all of them.
func sources() []source {
	return []source{
		schemas, relationSource, sequences, columns, constraints, domainConstraints, notNulls, indexes, statistics,
		routines, triggers, rules, policies, eventTriggers,
		enums, domains, ranges, baseTypes, extensions, casts, operators, operatorClasses, collations, searchConfigurations, searchDictionaries,
		wrappers, servers, publications,
		grants, columnGrants, defaultPrivileges,
	}
}

// own are the pipeline's tables, as an array.
var own = pg.Literal("{"+strings.Join(history.Names, ",")+"}") + "::name[]"

// relations are tables and the like that are the user's.
var relations = `SELECT c.*, n.nspname, format('%I.%I', n.nspname, c.relname) AS full_name
	FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
	WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f', 'S', 'c') AND c.relpersistence <> 't' AND ` + users + ` AND ` + noMember("pg_class", "c.oid") + `
		AND c.relname <> ALL (` + own + `) AND NOT EXISTS (SELECT FROM pg_depend o JOIN pg_class t ON t.oid = o.refobjid
			WHERE c.relkind = 'S' AND o.classid = 'pg_class'::regclass AND o.objid = c.oid AND o.refclassid = 'pg_class'::regclass
				AND o.deptype IN ('a', 'i') AND t.relname = ANY (` + own + `))`

// users is the condition that a schema n is no system schema.
const users = `n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'`

// noMember is the condition that an object of a catalog is no member of an extension.
func noMember(catalog, oid string) string {
	return fmt.Sprintf(`NOT EXISTS (SELECT FROM pg_depend e WHERE e.classid = '%s'::regclass AND e.objid = %s AND e.deptype = 'e')`, catalog, oid)
}

// flag is a property that an object has or has not.
func flag(name, condition string) property {
	return property{name: name, sql: "CASE WHEN " + condition + " THEN '" + yes + "' END"}
}

// comment is the property that COMMENT ON writes.
func comment(catalog, oid string) property {
	return property{name: "comment", sql: fmt.Sprintf("obj_description(%s, '%s')", oid, catalog)}
}

// options is SQL for a list of options in an order of their own.
func options(array string) string {
	return "(SELECT string_agg(o, ', ' ORDER BY o COLLATE \"C\") FROM unnest(" + array + ") o)"
}

// columnOptions are the options that were set on a column. A server may keep one of its own beside them: in Debian's
// PostgreSQL 17.12, where this was measured, pg_attver is where the WAL was when the column's type was set. pg_dump leaves
// it out.
var columnOptions = options("array(SELECT c FROM unnest(a.attoptions) c WHERE NOT starts_with(c, 'pg_attver='))")

// fingerprint is SQL for a text of which only equality matters, or which people should not be shown: a quarter of a SHA-256.
func fingerprint(text string) string {
	return "left(encode(sha256(convert_to(" + text + ", getdatabaseencoding())), 'hex'), 16)"
}
