package adopt

import (
	"fmt"
	"path"
	"regexp"
	"slices"
	"strings"

	"github.com/metaextract/pipeline/internal/pg"
)

// runner is a tool that keeps what it applied in a table. It is known by the columns of the table, for most let people
// choose the name.
type runner struct {
	name string
	// keeps says whether a table is this runner's.
	keeps func(r relation) bool
	// records is the query of the record: name, version, hash, when it was applied, when it was made, and one of the states;
	// NULL for what is not stored. It is ordered as the record was written. nil: the columns are found by what they hold.
	records func(r relation) string
	sum     sum
	// byContent says that a line is about the file with its hash, whatever else it says.
	byContent bool
	// program says that its migrations are programs, not SQL.
	program bool
	// tell is what a person runs to put a file that was applied by hand on the record.
	tell func(r relation, f *file) string
}

// The states of a record.
const (
	applied    = "applied"
	cumulative = "cumulative" // with all that come before it
	failed     = "failed"
	dirty      = "dirty"  // failed, and all that come before it are applied
	undone     = "undone" // what was recorded of it before does not hold any more
	ignored    = "ignored"
	repeatable = "repeatable"
	program    = "program" // not SQL
)

const golangMigrate = "golang-migrate"

// byHand is what a runner without a name is called.
const byHand = "a runner made by hand"

// runners are those that are known, the most telling shapes first.
var runners = []runner{
	{ // drizzle-orm 1.x: src/up-migrations/pg.ts adds name and applied_at
		name: "drizzle-orm", sum: sha256Sum, byContent: true,
		keeps: func(r relation) bool {
			return r.has("hash text", "created_at integer", "name text", "applied_at time")
		},
		records: func(r relation) string {
			return `SELECT name, created_at::text, hash, applied_at::timestamptz, ` + milliseconds("created_at") + `, 'applied' FROM ` + r.sql() + ` ORDER BY id`
		},
		tell: tellDrizzle,
	},
	{ // drizzle-orm 0.x: src/pg-core/dialect.ts
		name: "drizzle-orm", sum: sha256Sum, byContent: true,
		keeps: func(r relation) bool {
			return r.has("id integer", "hash text", "created_at integer") && len(r.Columns) == 3
		},
		records: func(r relation) string {
			return `SELECT NULL, created_at::text, hash, NULL, ` + milliseconds("created_at") + `, 'applied' FROM ` + r.sql() + ` ORDER BY id`
		},
		tell: tellDrizzle,
	},
	{ // prisma-engines: schema-engine/connectors/sql-schema-connector, imperative migration persistence
		name: "Prisma", sum: prismaSum,
		keeps: func(r relation) bool {
			return r.has("migration_name text", "checksum text", "finished_at time", "rolled_back_at time")
		},
		records: func(r relation) string {
			return `SELECT migration_name, NULL, checksum, finished_at::timestamptz, NULL,
				CASE WHEN rolled_back_at IS NOT NULL THEN 'ignored' WHEN finished_at IS NULL THEN 'failed' ELSE 'applied' END
				FROM ` + r.sql() + ` ORDER BY started_at, id`
		},
		tell: func(_ relation, f *file) string { return "npx prisma migrate resolve --applied " + f.name },
	},
	{ // flyway-core/src/main/java/org/flywaydb/core/internal/schemahistory
		name: "Flyway", sum: flywaySum,
		keeps: func(r relation) bool {
			return r.has("installed_rank integer", "version text", "type text", "script text", "checksum integer", "installed_on time", "success boolean")
		},
		records: func(r relation) string {
			return `SELECT script, version, checksum::text, installed_on::timestamptz, NULL, CASE
				WHEN type IN ('SCHEMA', 'SCHEMA_MARKER') THEN 'ignored' WHEN NOT success THEN 'failed'
				WHEN type LIKE '%BASELINE%' THEN 'cumulative' WHEN type = 'DELETE' OR type LIKE 'UNDO%' THEN 'undone'
				WHEN version IS NULL THEN 'repeatable' WHEN type = 'SQL' THEN 'applied' ELSE 'program' END
				FROM ` + r.sql() + ` ORDER BY installed_rank`
		},
	},
	{ // pressly/goose: internal/dialects/postgres.go; version 0 is the table itself
		name:  "goose",
		keeps: func(r relation) bool { return r.has("version_id integer", "is_applied boolean", "tstamp time") },
		records: func(r relation) string {
			return `SELECT NULL, version_id::text, NULL, tstamp::timestamptz, NULL, CASE WHEN is_applied THEN 'applied' ELSE 'undone' END
				FROM ` + r.sql() + ` WHERE version_id > 0 ORDER BY id`
		},
		tell: func(r relation, f *file) string {
			return fmt.Sprintf("INSERT INTO %s (version_id, is_applied) VALUES (%d, true)", r.sql(), *f.number)
		},
	},
	{ // golang-migrate: database/pgx/v5/pgx.go
		name:  golangMigrate,
		keeps: func(r relation) bool { return r.has("version integer", "dirty boolean") && len(r.Columns) == 2 },
		records: func(r relation) string {
			return `SELECT NULL, version::text, NULL, NULL, NULL, CASE WHEN dirty THEN 'dirty' ELSE 'cumulative' END FROM ` + r.sql()
		},
	},
	{name: "Alembic", program: true, keeps: func(r relation) bool { return r.has("version_num text") && len(r.Columns) == 1 }},
	{name: "Django", program: true, keeps: func(r relation) bool {
		return r.has("app text", "name text", "applied time") && strings.HasPrefix(r.Name, "django_")
	}},
	{name: "Liquibase", program: true, keeps: func(r relation) bool { return r.has("author text", "filename text", "md5sum text", "exectype text") }},
}

// usual are the names of the tables in which further tools, and people, keep the names of what they applied, or its
// numbers. Which of a table's columns has them is found by looking for the files.
var usual = regexp.MustCompile(`(?i)migrat|schema_?(?:version|history|info)|^sequelizemeta$`)

// plain is a name that means a record of migrations by itself, and nothing else.
var plain = regexp.MustCompile(`(?i)^_*(?:(?:schema|db|database|sql|app|applied)_?)?(?:migrations?|versions?|info|history)(?:_?(?:history|log))?$`)

// plainRunners are the tools whose tables are records of names.
var plainRunners = map[string]string{"knex_migrations": "knex", "pgmigrations": "node-pg-migrate", "gorp_migrations": "sql-migrate"}

// runnerOf is the tool that keeps its record in a table; found is false where the table is none.
func runnerOf(r relation) (known runner, found bool) {
	for _, known := range runners {
		if known.keeps(r) {
			return known, true
		}
	}
	if !usual.MatchString(r.Name) {
		return runner{}, false
	}
	known = runner{name: byHand}
	if name := plainRunners[r.Name]; name != "" {
		known.name = name
	} else if len(r.Columns) == 1 && r.has("version text") {
		known.name = "dbmate or Rails"
	}
	return known, true
}

// milliseconds is a column of milliseconds since 1970 as a time, NULL where it is none.
func milliseconds(column string) string {
	return fmt.Sprintf("CASE WHEN %[1]s BETWEEN 0 AND 253402300799999 THEN to_timestamp(%[1]s / 1000.0) END", column)
}

// isProgram says whether a record names a program.
func isProgram(name string) bool {
	return slices.Contains([]string{".js", ".mjs", ".cjs", ".ts", ".py", ".rb", ".go", ".java", ".php", ".exs", ".cs", ".kt"}, path.Ext(name))
}

func tellDrizzle(r relation, f *file) string {
	return fmt.Sprintf("INSERT INTO %s (hash, created_at) VALUES (%s, %d)", r.sql(), pg.Literal(sha256Hex(f.body)), *f.number)
}
