package catalog

// extensions are those of the application. pg_stat_statements is how its statements are known: an administrator makes it in
// any database to look at the server, and that is no change of the schema.
var extensions = source{
	kinds: []string{"extension"},
	name:  "quote_ident(x.extname)",
	properties: []property{
		ownedBy("x.extowner"),
		{name: "version", sql: "x.extversion"},
		{name: "schema", sql: "quote_ident(n.nspname)"},
	},
	from: "FROM pg_extension x JOIN pg_namespace n ON n.oid = x.extnamespace WHERE x.extname <> 'pg_stat_statements'",
}

var searchConfigurations = source{
	kinds: []string{"text search configuration"},
	name:  "format('%I.%I', n.nspname, c.cfgname)",
	properties: []property{
		ownedBy("c.cfgowner"),
		{name: "parser", sql: "(SELECT format('%I.%I', pn.nspname, p.prsname) FROM pg_ts_parser p JOIN pg_namespace pn ON pn.oid = p.prsnamespace WHERE p.oid = c.cfgparser)"},
		{name: "mappings", sql: `(SELECT string_agg(k.alias || ' ' || k.dictionaries, ', ' ORDER BY k.alias) FROM (
			SELECT t.alias, string_agg(m.mapdict::regdictionary::text, ' ' ORDER BY m.mapseqno) AS dictionaries
			FROM pg_ts_config_map m JOIN ts_token_type(c.cfgparser) t ON t.tokid = m.maptokentype WHERE m.mapcfg = c.oid GROUP BY t.alias) k)`},
		comment("pg_ts_config", "c.oid"),
	},
	from: "FROM pg_ts_config c JOIN pg_namespace n ON n.oid = c.cfgnamespace WHERE " + users + " AND " + noMember("pg_ts_config", "c.oid"),
}

var searchDictionaries = source{
	kinds: []string{"text search dictionary"},
	name:  "format('%I.%I', n.nspname, d.dictname)",
	properties: []property{
		ownedBy("d.dictowner"),
		{name: "template", sql: "(SELECT format('%I.%I', tn.nspname, t.tmplname) FROM pg_ts_template t JOIN pg_namespace tn ON tn.oid = t.tmplnamespace WHERE t.oid = d.dicttemplate)"},
		{name: "options", sql: "d.dictinitoption"},
		comment("pg_ts_dict", "d.oid"),
	},
	from: "FROM pg_ts_dict d JOIN pg_namespace n ON n.oid = d.dictnamespace WHERE " + users + " AND " + noMember("pg_ts_dict", "d.oid"),
}

// The options of wrappers and servers may hold what nobody should be shown.
var wrappers = source{
	kinds: []string{"foreign data wrapper"},
	name:  "quote_ident(w.fdwname)",
	properties: []property{
		ownedBy("w.fdwowner"),
		{name: "handler", sql: "nullif(w.fdwhandler, 0)::regprocedure"},
		{name: "validator", sql: "nullif(w.fdwvalidator, 0)::regprocedure"},
		{name: "options", sql: fingerprint(options("w.fdwoptions"))},
		comment("pg_foreign_data_wrapper", "w.oid"),
	},
	from: "FROM pg_foreign_data_wrapper w WHERE " + noMember("pg_foreign_data_wrapper", "w.oid"),
}

var servers = source{
	kinds: []string{"server"},
	name:  "quote_ident(s.srvname)",
	properties: []property{
		ownedBy("s.srvowner"),
		{name: "wrapper", sql: "(SELECT quote_ident(w.fdwname) FROM pg_foreign_data_wrapper w WHERE w.oid = s.srvfdw)"},
		{name: "type", sql: "s.srvtype"},
		{name: "version", sql: "s.srvversion"},
		{name: "options", sql: fingerprint(options("s.srvoptions"))},
		comment("pg_foreign_server", "s.oid"),
	},
	from: "FROM pg_foreign_server s WHERE " + noMember("pg_foreign_server", "s.oid"),
}

var publications = source{
	kinds: []string{"publication"},
	name:  "quote_ident(p.pubname)",
	properties: []property{
		ownedBy("p.pubowner"),
		flag("all tables", "p.puballtables"),
		{name: "operations", sql: "concat_ws(', ', CASE WHEN p.pubinsert THEN 'insert' END, CASE WHEN p.pubupdate THEN 'update' END, CASE WHEN p.pubdelete THEN 'delete' END, CASE WHEN p.pubtruncate THEN 'truncate' END)"},
		flag("via partition root", "p.pubviaroot"),
		{name: "tables", sql: "(SELECT string_agg(r.full_name, ', ' ORDER BY r.full_name COLLATE \"C\") FROM pg_publication_rel t JOIN relation r ON r.oid = t.prrelid WHERE t.prpubid = p.oid)"},
		{name: "columns and rows", sql: `(SELECT string_agg(concat_ws(' ', r.full_name, '(' || (SELECT string_agg(quote_ident(a.attname), ', ' ORDER BY a.attname)
			FROM pg_attribute a WHERE a.attrelid = t.prrelid AND a.attnum = ANY (t.prattrs)) || ')', pg_get_expr(t.prqual, t.prrelid)), ', ' ORDER BY r.full_name COLLATE "C")
			FROM pg_publication_rel t JOIN relation r ON r.oid = t.prrelid WHERE t.prpubid = p.oid AND (t.prattrs IS NOT NULL OR t.prqual IS NOT NULL))`, since: 150000},
		{name: "schemas", sql: "(SELECT string_agg(s.pnnspid::regnamespace::text, ', ' ORDER BY s.pnnspid::regnamespace::text) FROM pg_publication_namespace s WHERE s.pnpubid = p.oid)", since: 150000},
		comment("pg_publication", "p.oid"),
	},
	from: "FROM pg_publication p",
}
