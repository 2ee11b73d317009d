package catalog

var schemas = source{
	kinds: []string{"schema"},
	name:  "quote_ident(n.nspname)",
	properties: []property{
		ownedBy("n.nspowner"),
		comment("pg_namespace", "n.oid"),
	},
	from: "FROM pg_namespace n WHERE " + users + " AND " + noMember("pg_namespace", "n.oid"),
}

// query is the property of what a view shows.
const query = "query"

// relationKind is the kind of a relation r.
const relationKind = `CASE r.relkind WHEN 'r' THEN 'table' WHEN 'p' THEN 'partitioned table' WHEN 'v' THEN 'view' WHEN 'm' THEN 'materialized view'
	WHEN 'f' THEN 'foreign table' WHEN 'S' THEN 'sequence' ELSE 'composite type' END`

// A partition's inheritance is its bound.
var relationSource = source{
	kinds: []string{"table", "partitioned table", "view", "materialized view", "foreign table", "composite type"},
	kind:  relationKind,
	name:  "r.full_name",
	properties: []property{
		ownedBy("r.relowner"),
		{name: query, sql: "CASE WHEN r.relkind IN ('v', 'm') THEN pg_get_viewdef(r.oid) END"},
		{name: "partition key", sql: "CASE WHEN r.relkind = 'p' THEN pg_get_partkeydef(r.oid) END"},
		{name: "partition of", sql: `CASE WHEN r.relispartition THEN (SELECT i.inhparent::regclass || ' ' || pg_get_expr(r.relpartbound, r.oid) FROM pg_inherits i WHERE i.inhrelid = r.oid) END`},
		{name: "inherits", sql: `CASE WHEN NOT r.relispartition THEN (SELECT string_agg(i.inhparent::regclass::text, ', ' ORDER BY i.inhseqno) FROM pg_inherits i WHERE i.inhrelid = r.oid) END`},
		{name: "of type", sql: "CASE WHEN r.reloftype <> 0 THEN r.reloftype::regtype END"},
		{name: "persistence", sql: "CASE WHEN r.relpersistence = 'u' THEN 'unlogged' END"},
		{name: "access method", sql: "(SELECT am.amname FROM pg_am am WHERE am.oid = r.relam AND am.amname <> 'heap')"},
		{name: "options", sql: options("r.reloptions")},
		{name: "options of large values", sql: "(SELECT " + options("t.reloptions") + " FROM pg_class t WHERE t.oid = r.reltoastrelid)"},
		{name: "replica identity", sql: `CASE WHEN r.relkind IN ('r', 'p') THEN CASE r.relreplident WHEN 'n' THEN 'nothing' WHEN 'f' THEN 'full'
			WHEN 'i' THEN (SELECT 'index ' || i.indexrelid::regclass FROM pg_index i WHERE i.indrelid = r.oid AND i.indisreplident) END END`},
		flag("row level security", "r.relrowsecurity"),
		flag("row level security of the owner", "r.relforcerowsecurity"),
		flag("no data", "r.relkind = 'm' AND NOT r.relispopulated"),
		{name: "server", sql: "(SELECT s.srvname FROM pg_foreign_table f JOIN pg_foreign_server s ON s.oid = f.ftserver WHERE f.ftrelid = r.oid)"},
		{name: "options of the server", sql: "(SELECT " + options("f.ftoptions") + " FROM pg_foreign_table f WHERE f.ftrelid = r.oid)"},
		{name: "comment", sql: "CASE WHEN r.relkind = 'c' THEN obj_description(r.reltype, 'pg_type') ELSE obj_description(r.oid, 'pg_class') END"},
	},
	from: "FROM relation r WHERE r.relkind <> 'S'",
}

// Where a sequence is, is contents.
var sequences = source{
	kinds: []string{"sequence"},
	name:  "r.full_name",
	properties: []property{
		ownedBy("r.relowner"),
		{name: "type", sql: "format_type(s.seqtypid, NULL)"},
		{name: "start", sql: "s.seqstart"},
		{name: "increment", sql: "s.seqincrement"},
		{name: "minimum", sql: "s.seqmin"},
		{name: "maximum", sql: "s.seqmax"},
		{name: "cache", sql: "nullif(s.seqcache, 1)"},
		flag("cycle", "s.seqcycle"),
		{name: "owned by", sql: `(SELECT d.refobjid::regclass || '.' || quote_ident(a.attname) FROM pg_depend d JOIN pg_attribute a ON a.attrelid = d.refobjid AND a.attnum = d.refobjsubid
			WHERE d.classid = 'pg_class'::regclass AND d.objid = r.oid AND d.refclassid = 'pg_class'::regclass AND d.deptype IN ('a', 'i'))`},
		{name: "persistence", sql: "CASE WHEN r.relpersistence = 'u' THEN 'unlogged' END", since: 150000},
		comment("pg_class", "r.oid"),
	},
	from: "FROM relation r JOIN pg_sequence s ON s.seqrelid = r.oid",
}

// Columns of tables, views and composite types. Whether the column of a partition is also its own is not told, for pg_dump
// makes it so.
var columns = source{
	kinds: []string{"column"},
	name:  "r.full_name || '.' || quote_ident(a.attname)",
	properties: []property{
		{name: "type", sql: "format_type(a.atttypid, a.atttypmod)"},
		{name: "collation", sql: "CASE WHEN a.attcollation <> t.typcollation THEN a.attcollation::regcollation END"},
		{name: "nulls", sql: "CASE WHEN a.attnotnull THEN 'refused' ELSE 'allowed' END"},
		{name: "default", sql: "CASE WHEN a.attgenerated = '' THEN pg_get_expr(d.adbin, d.adrelid) END"},
		{name: "generated", sql: "CASE a.attgenerated WHEN 's' THEN 'stored ' WHEN 'v' THEN 'virtual ' END || pg_get_expr(d.adbin, d.adrelid)"},
		{name: "identity", sql: "CASE a.attidentity WHEN 'a' THEN 'always' WHEN 'd' THEN 'by default' END"},
		{name: "storage", sql: "CASE WHEN a.attstorage <> t.typstorage THEN CASE a.attstorage WHEN 'p' THEN 'plain' WHEN 'e' THEN 'external' WHEN 'x' THEN 'extended' WHEN 'm' THEN 'main' END END"},
		{name: "compression", sql: "CASE a.attcompression WHEN 'p' THEN 'pglz' WHEN 'l' THEN 'lz4' END", since: 140000},
		{name: "statistics target", sql: "nullif(a.attstattarget, -1)"},
		{name: "options", sql: columnOptions},
		{name: "options of the server", sql: options("a.attfdwoptions")},
		{name: "inherited", sql: "CASE WHEN a.attinhcount > 0 THEN CASE WHEN a.attislocal AND NOT r.relispartition THEN 'and its own' ELSE '" + yes + "' END END"},
		{name: "comment", sql: "col_description(r.oid, a.attnum)"},
	},
	from: `FROM relation r JOIN pg_attribute a ON a.attrelid = r.oid JOIN pg_type t ON t.oid = a.atttypid
		LEFT JOIN pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
		WHERE r.relkind <> 'S' AND a.attnum > 0 AND NOT a.attisdropped`,
}
