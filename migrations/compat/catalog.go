package compat

// users are the conditions for what is the user's: not the system's, an extension's or the pipeline's own.
const users = ` n.nspname NOT LIKE 'pg\_%' AND n.nspname <> 'information_schema'
	AND NOT EXISTS (SELECT FROM pg_depend x WHERE x.classid = 'pg_class'::regclass AND x.objid = c.oid AND x.deptype = 'e')
	AND c.relname <> ALL ($1)`

const (
	columnsQuery = `SELECT n.nspname, c.relname, a.attname, a.attnum, tn.nspname || '.' || t.typname,
			coalesce(en.nspname || '.' || e.typname, ''), format_type(a.atttypid, a.atttypmod), a.atttypmod,
			a.attnotnull OR t.typtype = 'd' AND t.typnotnull,
			CASE WHEN a.attgenerated <> '' THEN '' ELSE coalesce(pg_get_expr(d.adbin, d.adrelid), CASE WHEN t.typtype = 'd' THEN t.typdefault END, '') END,
			a.attidentity::text, a.attgenerated::text
		FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid JOIN pg_namespace n ON n.oid = c.relnamespace
			JOIN pg_type t ON t.oid = a.atttypid JOIN pg_namespace tn ON tn.oid = t.typnamespace
			LEFT JOIN pg_type e ON e.oid = t.typelem AND t.typcategory = 'A' LEFT JOIN pg_namespace en ON en.oid = e.typnamespace
			LEFT JOIN pg_attrdef d ON d.adrelid = c.oid AND d.adnum = a.attnum
		WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f') AND a.attnum > 0 AND NOT a.attisdropped AND` + users
	tablesQuery = `SELECT n.nspname, c.relname, c.relkind::text, c.relrowsecurity, c.relforcerowsecurity,
			coalesce((SELECT CASE WHEN count(DISTINCT b.oid) = 1 THEN min(json_build_array(bn.nspname, b.relname)::text) END
				FROM pg_rewrite r JOIN pg_depend x ON x.classid = 'pg_rewrite'::regclass AND x.objid = r.oid AND x.refclassid = 'pg_class'::regclass
					JOIN pg_class b ON b.oid = x.refobjid JOIN pg_namespace bn ON bn.oid = b.relnamespace
				WHERE r.ev_class = c.oid AND c.relkind = 'v' AND b.oid <> c.oid), ''),
			EXISTS (SELECT FROM pg_trigger g WHERE g.tgrelid = c.oid AND NOT g.tgisinternal AND g.tgenabled <> 'D'
				AND g.tgtype & 1 <> 0 AND g.tgtype & 66 <> 0 AND g.tgtype & 4 <> 0)
			OR EXISTS (SELECT FROM pg_rewrite r WHERE r.ev_class = c.oid AND r.ev_type = '3' AND r.is_instead)
		FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f') AND` + users
	enumsQuery = `SELECT n.nspname || '.' || t.typname, array_agg(l.enumlabel::text ORDER BY l.enumsortorder)
		FROM pg_enum l JOIN pg_type t ON t.oid = l.enumtypid JOIN pg_namespace n ON n.oid = t.typnamespace GROUP BY 1`
	domainsQuery = `SELECT tn.nspname || '.' || t.typname, array_agg(replace(pg_get_constraintdef(k.oid), ' NOT VALID', '') ORDER BY 1)
		FROM pg_constraint k JOIN pg_type t ON t.oid = k.contypid JOIN pg_namespace tn ON tn.oid = t.typnamespace
		WHERE k.contype = 'c' GROUP BY 1`
	sequencesQuery = `SELECT n.nspname, c.relname, format_type(s.seqtypid, NULL), s.seqincrement
		FROM pg_sequence s JOIN pg_class c ON c.oid = s.seqrelid JOIN pg_namespace n ON n.oid = c.relnamespace WHERE` + users
	partitionsQuery = `SELECT n.nspname, c.relname, pn.nspname, p.relname
		FROM pg_inherits h JOIN pg_class c ON c.oid = h.inhrelid JOIN pg_namespace n ON n.oid = c.relnamespace
			JOIN pg_class p ON p.oid = h.inhparent JOIN pg_namespace pn ON pn.oid = p.relnamespace
		WHERE c.relkind IN ('r', 'p', 'f') AND` + users
	routinesQuery = `SELECT n.nspname, p.proname, pg_get_function_identity_arguments(p.oid), p.prosrc,
			coalesce((SELECT array_agg(tn.nspname || '.' || tc.relname) FROM pg_trigger g JOIN pg_class tc ON tc.oid = g.tgrelid
				JOIN pg_namespace tn ON tn.oid = tc.relnamespace WHERE g.tgfoid = p.oid AND g.tgenabled <> 'D'), '{}')
		FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace JOIN pg_language l ON l.oid = p.prolang
		WHERE l.lanname NOT IN ('internal', 'c') AND p.prosrc <> '' AND n.nspname NOT LIKE 'pg\_%' AND n.nspname <> 'information_schema'
			AND NOT EXISTS (SELECT FROM pg_depend x WHERE x.classid = 'pg_proc'::regclass AND x.objid = p.oid AND x.deptype = 'e')`
	// Constraints that a parent has are told there. PostgreSQL 18 has those of NOT NULL here, too, and some that are not
	// enforced; the columns say the former.
	attachedQuery = `SELECT n.nspname, c.relname, k.conname::text,
			CASE k.contype WHEN 'c' THEN 'CHECK constraint' WHEN 'f' THEN 'foreign key' ELSE 'exclusion constraint' END,
			replace(pg_get_constraintdef(k.oid), ' NOT VALID', ''),
			coalesce((SELECT array_agg(a.attname::text ORDER BY a.attnum) FROM pg_attribute a WHERE a.attrelid = k.conrelid AND a.attnum = ANY (k.conkey)), '{}'),
			coalesce((SELECT json_build_array(fn.nspname, f.relname)::text FROM pg_class f JOIN pg_namespace fn ON fn.oid = f.relnamespace WHERE f.oid = k.confrelid), ''),
			k.confdeltype::text
		FROM pg_constraint k JOIN pg_class c ON c.oid = k.conrelid JOIN pg_namespace n ON n.oid = c.relnamespace
		WHERE k.contype IN ('c', 'f', 'x') AND k.conparentid = 0 AND k.conislocal AND coalesce(to_jsonb(k) ->> 'conenforced', 'true') = 'true' AND` + users + `
	UNION ALL SELECT n.nspname, c.relname, ic.relname, 'unique index', 'UNIQUE'
			|| CASE WHEN to_jsonb(i) ->> 'indnullsnotdistinct' = 'true' THEN ' NULLS NOT DISTINCT' ELSE '' END
			|| ' (' || (SELECT string_agg(pg_get_indexdef(i.indexrelid, k, true), ', ' ORDER BY k) FROM generate_series(1, i.indnkeyatts) k) || ')'
			|| coalesce(' WHERE ' || pg_get_expr(i.indpred, i.indrelid), ''),
			coalesce((SELECT array_agg(a.attname::text ORDER BY a.attnum) FROM pg_attribute a WHERE a.attrelid = c.oid AND a.attnum = ANY (i.indkey)), '{}'), '', ''
		FROM pg_index i JOIN pg_class ic ON ic.oid = i.indexrelid JOIN pg_class c ON c.oid = i.indrelid JOIN pg_namespace n ON n.oid = c.relnamespace
		WHERE i.indisunique AND i.indisready AND NOT ic.relispartition AND` + users + `
	UNION ALL SELECT n.nspname, c.relname, g.tgname::text, 'trigger', pg_get_triggerdef(g.oid) || CASE g.tgenabled WHEN 'O' THEN '' ELSE ' ' || g.tgenabled::text END,
			'{}', '', ''
		FROM pg_trigger g JOIN pg_class c ON c.oid = g.tgrelid JOIN pg_namespace n ON n.oid = c.relnamespace
		WHERE NOT g.tgisinternal AND g.tgenabled <> 'D' AND coalesce(to_jsonb(g) ->> 'tgparentid', '0') = '0' AND` + users + `
	UNION ALL SELECT n.nspname, c.relname, r.rulename::text, 'rule', pg_get_ruledef(r.oid), '{}', '', ''
		FROM pg_rewrite r JOIN pg_class c ON c.oid = r.ev_class JOIN pg_namespace n ON n.oid = c.relnamespace
		WHERE r.rulename <> '_RETURN' AND r.ev_enabled <> 'D' AND` + users + `
	UNION ALL SELECT n.nspname, c.relname, p.polname::text, 'policy', concat_ws(' ', p.polpermissive, p.polcmd, p.polroles::regrole[],
			pg_get_expr(p.polqual, p.polrelid), pg_get_expr(p.polwithcheck, p.polrelid)), '{}', '', ''
		FROM pg_policy p JOIN pg_class c ON c.oid = p.polrelid JOIN pg_namespace n ON n.oid = c.relnamespace WHERE c.relrowsecurity AND` + users
	// The owner's own rights are in it, so that another owner shows as rights lost.
	grantsQuery = `SELECT DISTINCT g.privilege_type || ' on ' || o.what || ' to ' || CASE g.grantee WHEN 0 THEN 'PUBLIC' ELSE g.grantee::regrole::text END
		FROM (SELECT CASE c.relkind WHEN 'S' THEN 'sequence ' ELSE 'table ' END || n.nspname || '.' || c.relname AS what,
				coalesce(c.relacl, acldefault(CASE c.relkind WHEN 'S' THEN 's' ELSE 'r' END::"char", c.relowner)) AS acl
			FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f', 'S') AND` + users + `
			UNION ALL SELECT 'column ' || n.nspname || '.' || c.relname || '.' || a.attname, a.attacl
			FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid JOIN pg_namespace n ON n.oid = c.relnamespace
			WHERE a.attacl IS NOT NULL AND NOT a.attisdropped AND` + users + `
			UNION ALL SELECT 'schema ' || n.nspname, coalesce(n.nspacl, acldefault('n', n.nspowner)) FROM pg_namespace n
			WHERE n.nspname NOT LIKE 'pg\_%' AND n.nspname <> 'information_schema'
			UNION ALL SELECT 'function ' || n.nspname || '.' || p.proname || '(' || pg_get_function_identity_arguments(p.oid) || ')', coalesce(p.proacl, acldefault('f', p.proowner))
			FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace WHERE n.nspname NOT LIKE 'pg\_%' AND n.nspname <> 'information_schema') o,
			aclexplode(o.acl) g`
)
