package catalog

import "strings"

// What says who may do what: a property and two kinds of object.
const (
	owner            = "owner"
	grant            = "grant"
	defaultPrivilege = "default privileges"
)

// owned are objects with owner and privileges: class as acldefault knows it.
var owned = strings.Join([]string{
	"SELECT 'schema ' || quote_ident(n.nspname) AS object, n.nspowner AS owner, n.nspacl AS acl, 'n'::\"char\" AS class FROM pg_namespace n WHERE " + users + " AND " + noMember("pg_namespace", "n.oid"),
	"SELECT " + relationKind + " || ' ' || r.full_name, r.relowner, r.relacl, CASE r.relkind WHEN 'S' THEN 's' ELSE 'r' END::\"char\" FROM relation r WHERE r.relkind <> 'c'",
	"SELECT " + routineKind + " || ' ' || " + routineName + ", p.proowner, p.proacl, 'f'::\"char\" FROM " + usersRoutines,
	"SELECT 'type ' || t.full_name, t.typowner, t.typacl, 'T'::\"char\" FROM " + usersTypes,
	"SELECT 'type ' || r.full_name, t.typowner, t.typacl, 'T'::\"char\" FROM relation r JOIN pg_type t ON t.oid = r.reltype WHERE r.relkind = 'c'",
	"SELECT 'foreign data wrapper ' || quote_ident(w.fdwname), w.fdwowner, w.fdwacl, 'F'::\"char\" FROM pg_foreign_data_wrapper w WHERE " + noMember("pg_foreign_data_wrapper", "w.oid"),
	"SELECT 'server ' || quote_ident(s.srvname), s.srvowner, s.srvacl, 'S'::\"char\" FROM pg_foreign_server s WHERE " + noMember("pg_foreign_server", "s.oid"),
}, " UNION ALL ")

// ownedBy is the property of who owns an object.
func ownedBy(role string) property {
	return property{name: owner, sql: "quote_ident(pg_get_userbyid(" + role + "))"}
}

// granted says in what an object's privileges differ from those that its class has by default, for each role: GRANT and REVOKE
// that undo each other leave a list where none was, with the same meaning. Who granted does not matter.
func granted(objects string) string {
	entries := func(acl string) string {
		return "SELECT grantee, privilege_type, is_grantable FROM aclexplode(" + acl + ")"
	}
	return `FROM (SELECT o.object, o.owner, x.grantee, string_agg(x.privilege, ', ' ORDER BY x.privilege) AS privileges
		FROM (` + objects + `) o CROSS JOIN LATERAL (
			SELECT a.grantee, a.privilege_type || CASE WHEN a.is_grantable THEN ' with grant option' ELSE '' END AS privilege
			FROM (` + entries("o.acl") + " EXCEPT " + entries("o.base") + `) a
			UNION ALL SELECT b.grantee, 'not ' || b.privilege_type
			FROM (` + entries("o.base") + " EXCEPT " + entries("o.acl") + `) b
		) x WHERE o.acl IS NOT NULL GROUP BY 1, 2, 3) o`
}

// grantee is whom a row of granted is about. The owner has other privileges with another name.
const grantee = `CASE o.grantee WHEN 0 THEN 'PUBLIC' WHEN o.owner THEN 'its owner' ELSE quote_ident(pg_get_userbyid(o.grantee)) END`

var privileges = []property{{name: "privileges", sql: "o.privileges"}}

var grants = source{
	kinds:      []string{grant},
	name:       "'on ' || o.object || ' to ' || " + grantee,
	properties: privileges,
	from:       granted("SELECT o.object, o.owner, o.acl, acldefault(o.class, o.owner) AS base FROM (" + owned + ") o"),
}

var columnGrants = source{
	kinds:      []string{grant},
	name:       "'on ' || o.object || ' to ' || " + grantee,
	properties: privileges,
	from: granted(`SELECT 'column ' || r.full_name || '.' || quote_ident(a.attname) AS object, r.relowner AS owner, a.attacl AS acl, NULL::aclitem[] AS base
		FROM relation r JOIN pg_attribute a ON a.attrelid = r.oid WHERE NOT a.attisdropped`),
}

// Without a schema, the list replaces what the class has by default; with one, it is added.
var defaultPrivileges = source{
	kinds:      []string{defaultPrivilege},
	name:       "o.object || ' to ' || " + grantee,
	properties: privileges,
	from: granted(`SELECT CASE d.defaclobjtype WHEN 'r' THEN 'on tables' WHEN 'S' THEN 'on sequences' WHEN 'f' THEN 'on functions' WHEN 'T' THEN 'on types' WHEN 'n' THEN 'on schemas' ELSE 'on large objects' END
			|| ' made by ' || quote_ident(pg_get_userbyid(d.defaclrole)) || CASE d.defaclnamespace WHEN 0 THEN '' ELSE ' in ' || d.defaclnamespace::regnamespace END AS object,
			d.defaclrole AS owner, d.defaclacl AS acl,
			CASE d.defaclnamespace WHEN 0 THEN acldefault(CASE d.defaclobjtype WHEN 'S' THEN 's' ELSE d.defaclobjtype END, d.defaclrole) END AS base
		FROM pg_default_acl d WHERE d.defaclnamespace = 0 OR d.defaclnamespace IN (SELECT n.oid FROM pg_namespace n WHERE ` + users + ")"),
}
