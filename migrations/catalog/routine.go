package catalog

// Functions that a range type brings along depend on it internally, and are not told.
var routines = source{
	kinds: []string{"function", "procedure", "aggregate", "window function"},
	kind:  routineKind,
	name:  routineName,
	properties: []property{
		ownedBy("p.proowner"),
		{name: "arguments", sql: "pg_get_function_arguments(p.oid)"},
		{name: "returns", sql: "pg_get_function_result(p.oid)"},
		{name: "language", sql: "l.lanname"},
		{name: "volatility", sql: "CASE p.provolatile WHEN 'i' THEN 'immutable' WHEN 's' THEN 'stable' ELSE 'volatile' END"},
		{name: "parallel", sql: "CASE p.proparallel WHEN 's' THEN 'safe' WHEN 'r' THEN 'restricted' END"},
		flag("strict", "p.proisstrict"),
		flag("security definer", "p.prosecdef"),
		flag("leakproof", "p.proleakproof"),
		{name: "cost", sql: "nullif(p.procost, 100)"},
		{name: "rows", sql: "nullif(p.prorows, 0)"},
		{name: "support", sql: "nullif(p.prosupport::text, '-')"},
		{name: "settings", sql: options("p.proconfig")},
		{name: "source", sql: fingerprint("p.prosrc")},
		{name: "library", sql: "p.probin"},
		{name: "body", sql: fingerprint("pg_get_function_sqlbody(p.oid)"), since: 140000},
		{name: "transforms", sql: "(SELECT string_agg(t::regtype::text, ', ') FROM unnest(p.protrftypes) t)"},
		{name: "state", sql: "concat_ws(' ', a.aggtransfn, a.aggtranstype::regtype, nullif(a.aggtransspace, 0), a.agginitval)"},
		{name: "moving state", sql: "nullif(concat_ws(' ', nullif(a.aggmtransfn::text, '-'), nullif(a.aggminvtransfn::text, '-'), nullif(a.aggmtranstype, 0)::regtype, a.aggminitval, nullif(a.aggmfinalfn::text, '-')), '')"},
		{name: "final function", sql: "nullif(a.aggfinalfn::text, '-') || CASE WHEN a.aggfinalextra THEN ' extra' ELSE '' END || ' ' || a.aggfinalmodify::text"},
		{name: "functions", sql: "nullif(concat_ws(' ', nullif(a.aggcombinefn::text, '-'), nullif(a.aggserialfn::text, '-'), nullif(a.aggdeserialfn::text, '-')), '')"},
		{name: "sort operator", sql: "nullif(a.aggsortop, 0)::regoperator"},
		comment("pg_proc", "p.oid"),
	},
	from: "FROM " + usersRoutines + " LEFT JOIN pg_aggregate a ON a.aggfnoid = p.oid JOIN pg_language l ON l.oid = p.prolang WHERE true",
}

// routineName and routineKind are of a row p of usersRoutines. The name has the types that tell it from others.
const (
	routineName = "format('%I.%I(%s)', p.nspname, p.proname, oidvectortypes(p.proargtypes))"
	routineKind = "CASE p.prokind WHEN 'f' THEN 'function' WHEN 'p' THEN 'procedure' WHEN 'a' THEN 'aggregate' ELSE 'window function' END"
)

const usersRoutines = `(SELECT p.*, n.nspname FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace WHERE ` + users + `
	AND NOT EXISTS (SELECT FROM pg_depend e WHERE e.classid = 'pg_proc'::regclass AND e.objid = p.oid AND e.deptype IN ('e', 'i'))) p`
