package catalog

// enabled is when a trigger or rule fires, where that is not as by default.
func enabled(column string) property {
	return property{name: "enabled", sql: "CASE " + column + " WHEN 'D' THEN 'never' WHEN 'R' THEN 'on replicas' WHEN 'A' THEN 'always' END"}
}

var triggers = source{
	kinds: []string{"trigger"},
	name:  "r.full_name || '.' || quote_ident(t.tgname)",
	properties: []property{
		{name: "definition", sql: "pg_get_triggerdef(t.oid)"},
		enabled("t.tgenabled"),
		comment("pg_trigger", "t.oid"),
	},
	from: "FROM relation r JOIN pg_trigger t ON t.tgrelid = r.oid WHERE NOT t.tgisinternal",
}

var rules = source{
	kinds: []string{"rule"},
	name:  "r.full_name || '.' || quote_ident(w.rulename)",
	properties: []property{
		{name: "definition", sql: "pg_get_ruledef(w.oid)"},
		enabled("w.ev_enabled"),
		comment("pg_rewrite", "w.oid"),
	},
	from: "FROM relation r JOIN pg_rewrite w ON w.ev_class = r.oid WHERE w.rulename <> '_RETURN'",
}

var policies = source{
	kinds: []string{"policy"},
	name:  "r.full_name || '.' || quote_ident(p.polname)",
	properties: []property{
		{name: "command", sql: "CASE p.polcmd WHEN 'r' THEN 'select' WHEN 'a' THEN 'insert' WHEN 'w' THEN 'update' WHEN 'd' THEN 'delete' ELSE 'all' END"},
		flag("restrictive", "NOT p.polpermissive"),
		{name: "to", sql: "(SELECT string_agg(CASE o WHEN 0 THEN 'PUBLIC' ELSE quote_ident(pg_get_userbyid(o)) END, ', ' ORDER BY pg_get_userbyid(o)) FROM unnest(p.polroles) o)"},
		{name: "using", sql: "pg_get_expr(p.polqual, p.polrelid)"},
		{name: "check", sql: "pg_get_expr(p.polwithcheck, p.polrelid)"},
		comment("pg_policy", "p.oid"),
	},
	from: "FROM relation r JOIN pg_policy p ON p.polrelid = r.oid",
}

var eventTriggers = source{
	kinds: []string{"event trigger"},
	name:  "quote_ident(t.evtname)",
	properties: []property{
		ownedBy("t.evtowner"),
		{name: "event", sql: "t.evtevent"},
		{name: "tags", sql: options("t.evttags")},
		{name: "function", sql: "t.evtfoid::regprocedure"},
		enabled("t.evtenabled"),
		comment("pg_event_trigger", "t.oid"),
	},
	from: "FROM pg_event_trigger t WHERE " + noMember("pg_event_trigger", "t.oid"),
}
