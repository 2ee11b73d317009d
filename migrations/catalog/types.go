package catalog

// usersTypes are types t that are the user's, but neither those of rows nor of arrays.
const usersTypes = `(SELECT t.*, n.nspname, format('%I.%I', n.nspname, t.typname) AS full_name FROM pg_type t JOIN pg_namespace n ON n.oid = t.typnamespace
	WHERE t.typtype IN ('b', 'd', 'e', 'r') AND ` + users + ` AND NOT EXISTS (SELECT FROM pg_type a WHERE a.typarray = t.oid)
		AND NOT EXISTS (SELECT FROM pg_depend e WHERE e.classid = 'pg_type'::regclass AND e.objid = t.oid AND e.deptype = 'e')) t`

var enums = source{
	kinds: []string{"enum"},
	name:  "t.full_name",
	properties: []property{
		ownedBy("t.typowner"),
		{name: "labels", sql: "(SELECT string_agg(quote_literal(l.enumlabel), ', ' ORDER BY l.enumsortorder) FROM pg_enum l WHERE l.enumtypid = t.oid)"},
		comment("pg_type", "t.oid"),
	},
	from: "FROM " + usersTypes + " WHERE t.typtype = 'e'",
}

var domains = source{
	kinds: []string{"domain"},
	name:  "t.full_name",
	properties: []property{
		ownedBy("t.typowner"),
		{name: "type", sql: "format_type(t.typbasetype, t.typtypmod)"},
		{name: "collation", sql: "CASE WHEN t.typcollation <> b.typcollation THEN t.typcollation::regcollation END"},
		{name: "nulls", sql: "CASE WHEN t.typnotnull THEN 'refused' ELSE 'allowed' END"},
		{name: "default", sql: "pg_get_expr(t.typdefaultbin, 0)"},
		comment("pg_type", "t.oid"),
	},
	from: "FROM " + usersTypes + " JOIN pg_type b ON b.oid = t.typbasetype WHERE t.typtype = 'd'",
}

var ranges = source{
	kinds: []string{"range"},
	name:  "t.full_name",
	properties: []property{
		ownedBy("t.typowner"),
		{name: "subtype", sql: "format_type(r.rngsubtype, NULL)"},
		{name: "collation", sql: "nullif(r.rngcollation, 0)::regcollation"},
		{name: "operator class", sql: "(SELECT format('%I.%I', n.nspname, o.opcname) FROM pg_opclass o JOIN pg_namespace n ON n.oid = o.opcnamespace WHERE o.oid = r.rngsubopc)"},
		{name: "canonical", sql: "nullif(r.rngcanonical::text, '-')"},
		{name: "difference", sql: "nullif(r.rngsubdiff::text, '-')"},
		{name: "multirange", sql: "r.rngmultitypid::regtype", since: 140000},
		comment("pg_type", "t.oid"),
	},
	from: "FROM " + usersTypes + " JOIN pg_range r ON r.rngtypid = t.oid",
}

var baseTypes = source{
	kinds: []string{"base type"},
	name:  "t.full_name",
	properties: []property{
		ownedBy("t.typowner"),
		{name: "functions", sql: "concat_ws(' ', t.typinput, t.typoutput, t.typreceive, t.typsend, t.typmodin, t.typmodout, t.typanalyze)"},
		{name: "length", sql: "t.typlen"},
		{name: "storage", sql: "concat_ws(' ', t.typbyval, t.typalign, t.typstorage)"},
		{name: "category", sql: "concat_ws(' ', t.typcategory, t.typispreferred)"},
		{name: "default", sql: "t.typdefault"},
		{name: "element", sql: "nullif(t.typelem, 0)::regtype"},
		flag("collatable", "t.typcollation <> 0"),
		comment("pg_type", "t.oid"),
	},
	from: "FROM " + usersTypes + " WHERE t.typtype = 'b'",
}

var casts = source{
	kinds: []string{"cast"},
	name:  "format('%s AS %s', c.castsource::regtype, c.casttarget::regtype)",
	properties: []property{
		{name: "function", sql: "nullif(c.castfunc, 0)::regprocedure"},
		{name: "context", sql: "CASE c.castcontext WHEN 'a' THEN 'assignment' WHEN 'i' THEN 'implicit' ELSE 'explicit' END"},
		{name: "method", sql: "CASE c.castmethod WHEN 'i' THEN 'inout' WHEN 'b' THEN 'binary' END"},
		comment("pg_cast", "c.oid"),
	},
	// 16384 is FirstNormalObjectId. Casts that a range type brings along depend on it internally.
	from: "FROM pg_cast c WHERE c.oid >= 16384 AND NOT EXISTS (SELECT FROM pg_depend e WHERE e.classid = 'pg_cast'::regclass AND e.objid = c.oid AND e.deptype IN ('e', 'i'))",
}

var operators = source{
	kinds: []string{"operator"},
	name:  "o.oid::regoperator::text",
	properties: []property{
		ownedBy("o.oprowner"),
		{name: "function", sql: "nullif(o.oprcode::text, '-')"},
		{name: "commutator", sql: "nullif(o.oprcom, 0)::regoperator"},
		{name: "negator", sql: "nullif(o.oprnegate, 0)::regoperator"},
		{name: "estimators", sql: "nullif(concat_ws(' ', nullif(o.oprrest::text, '-'), nullif(o.oprjoin::text, '-')), '')"},
		flag("hashes", "o.oprcanhash"),
		flag("merges", "o.oprcanmerge"),
		comment("pg_operator", "o.oid"),
	},
	from: "FROM pg_operator o JOIN pg_namespace n ON n.oid = o.oprnamespace WHERE " + users + " AND " + noMember("pg_operator", "o.oid"),
}

// Members of an operator family that belong to no class are told with each of its classes.
var operatorClasses = source{
	kinds: []string{"operator class"},
	name:  "format('%I.%I for %s', n.nspname, o.opcname, am.amname)",
	properties: []property{
		ownedBy("o.opcowner"),
		{name: "type", sql: "o.opcintype::regtype"},
		{name: "storage", sql: "nullif(o.opckeytype, 0)::regtype"},
		flag("default", "o.opcdefault"),
		{name: "operators", sql: "(SELECT string_agg(a.amopstrategy || ' ' || a.amopopr::regoperator, ', ' ORDER BY a.amopstrategy, a.amopopr::regoperator::text) FROM pg_amop a WHERE a.amopfamily = o.opcfamily)"},
		{name: "functions", sql: "(SELECT string_agg(a.amprocnum || ' ' || a.amproc, ', ' ORDER BY a.amprocnum, a.amproc::text) FROM pg_amproc a WHERE a.amprocfamily = o.opcfamily)"},
		comment("pg_opclass", "o.oid"),
	},
	from: `FROM pg_opclass o JOIN pg_namespace n ON n.oid = o.opcnamespace JOIN pg_am am ON am.oid = o.opcmethod WHERE ` + users + " AND " + noMember("pg_opclass", "o.oid"),
}

// The locale's columns have other names in PostgreSQL 15 and 16 than later, and before 15 ICU's is where libc's is.
var collations = source{
	kinds: []string{"collation"},
	name:  "format('%I.%I', n.nspname, c.collname)",
	properties: []property{
		ownedBy("c.collowner"),
		{name: "provider", sql: "c.collprovider"},
		{name: "locale", sql: "coalesce(j ->> 'colllocale', j ->> 'colliculocale', j ->> 'collcollate')"},
		{name: "character types", sql: "CASE c.collprovider WHEN 'c' THEN j ->> 'collctype' END"},
		{name: "rules", sql: "j ->> 'collicurules'"},
		flag("nondeterministic", "NOT c.collisdeterministic"),
		comment("pg_collation", "c.oid"),
	},
	from: "FROM pg_collation c CROSS JOIN to_jsonb(c) j JOIN pg_namespace n ON n.oid = c.collnamespace WHERE " + users + " AND " + noMember("pg_collation", "c.oid"),
}
