package catalog

// Where a constraint is not validated or can be deferred, its definition says so.
var constraintProperties = []property{
	{name: "definition", sql: "pg_get_constraintdef(con.oid)"},
	// ALTER TABLE … DISABLE TRIGGER ALL stops foreign keys, and no dump has it.
	{name: "triggers", sql: "(SELECT 'disabled' FROM pg_trigger t WHERE t.tgconstraint = con.oid AND t.tgenabled = 'D' LIMIT 1)"},
	comment("pg_constraint", "con.oid"),
}

var constraints = source{
	kinds:      []string{"constraint"},
	name:       "r.full_name || '.' || quote_ident(con.conname)",
	properties: constraintProperties,
	from:       "FROM relation r JOIN pg_constraint con ON con.conrelid = r.oid WHERE con.contype IN ('c', 'f', 'p', 'u', 'x')",
}

var domainConstraints = source{
	kinds:      []string{"constraint"},
	name:       "format('%I.%I.%I', n.nspname, t.typname, con.conname)",
	properties: constraintProperties,
	from: `FROM pg_constraint con JOIN pg_type t ON t.oid = con.contypid JOIN pg_namespace n ON n.oid = t.typnamespace
		WHERE con.contype = 'c' AND ` + users + " AND " + noMember("pg_type", "t.oid"),
}

// From PostgreSQL 18 on, NOT NULL is a constraint with a name; before, it is but a column that refuses nulls.
var notNulls = source{
	kinds:      []string{"not-null constraint"},
	name:       "r.full_name || '.' || quote_ident(con.conname)",
	properties: constraintProperties,
	from:       "FROM relation r JOIN pg_constraint con ON con.conrelid = r.oid WHERE con.contype = 'n'",
	since:      180000,
}

var indexes = source{
	kinds: []string{"index"},
	name:  "format('%I.%I', r.nspname, c.relname)",
	properties: []property{
		{name: "definition", sql: "pg_get_indexdef(i.indexrelid)"},
		{name: "validity", sql: "CASE WHEN NOT i.indisvalid THEN 'not valid' WHEN NOT i.indisready THEN 'not ready' END"},
		flag("clustered", "i.indisclustered"),
		{name: "partition of", sql: "(SELECT h.inhparent::regclass FROM pg_inherits h WHERE h.inhrelid = i.indexrelid)"},
		{name: "statistics targets", sql: `(SELECT string_agg(a.attname || ' ' || a.attstattarget, ', ' ORDER BY a.attnum) FROM pg_attribute a
			WHERE a.attrelid = i.indexrelid AND a.attstattarget >= 0)`},
		comment("pg_class", "c.oid"),
	},
	from: "FROM relation r JOIN pg_index i ON i.indrelid = r.oid JOIN pg_class c ON c.oid = i.indexrelid",
}

var statistics = source{
	kinds: []string{"statistics"},
	name:  "format('%I.%I', n.nspname, x.stxname)",
	properties: []property{
		ownedBy("x.stxowner"),
		{name: "definition", sql: "pg_get_statisticsobjdef(x.oid)"},
		{name: "statistics target", sql: "nullif(x.stxstattarget, -1)"},
		comment("pg_statistic_ext", "x.oid"),
	},
	from: "FROM relation r JOIN pg_statistic_ext x ON x.stxrelid = r.oid JOIN pg_namespace n ON n.oid = x.stxnamespace",
}
