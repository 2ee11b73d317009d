package rules

import (
	"cmp"
	"strings"
	"unicode/utf8"

	pg "github.com/pganalyze/pg_query_go/v6"
	"google.golang.org/protobuf/proto"

	"github.com/metaextract/pipeline/migrations/statement"
)

// recipe joins the lines of a fix.
func recipe(lines ...string) string { return strings.Join(lines, "\n") }

const (
	alone   = "-- in a file of its own:"
	later   = "-- in a later file:"
	release = "-- in a later release, when no running code needs it:"
)

// maxName is NAMEDATALEN - 1 (src/include/pg_config_manual.h), in bytes.
const maxName = 63

// named is a name made of parts, as long as a name may be.
func named(parts ...string) string {
	return truncated(strings.Join(parts, "_"))
}

// truncated is what PostgreSQL keeps of a name.
func truncated(name string) string {
	for len(name) > maxName {
		_, size := utf8.DecodeLastRuneInString(name)
		name = name[:len(name)-size]
	}
	return name
}

// deparsed is a statement as text, "" where it cannot be written.
func deparsed(tree *pg.Node) string {
	text, err := statement.Deparse(tree)
	if err != nil {
		return ""
	}
	return text + ";"
}

func alter(table statement.Name, command string) string {
	return "ALTER TABLE " + table.SQL() + " " + command + ";"
}

// columnList is (a, b).
func columnList(columns []string) string {
	quoted := make([]string, len(columns))
	for i, c := range columns {
		quoted[i] = statement.Quote(c)
	}
	return "(" + strings.Join(quoted, ", ") + ")"
}

// withConstraint is the same ALTER TABLE with one command, which adds a constraint that has been changed.
func withConstraint(n *pg.AlterTableStmt, c *pg.Constraint, change func(*pg.Constraint)) string {
	copied := proto.Clone(c).(*pg.Constraint)
	change(copied)
	relation := proto.Clone(n.GetRelation()).(*pg.RangeVar)
	command := &pg.AlterTableCmd{
		Subtype: pg.AlterTableType_AT_AddConstraint, Behavior: pg.DropBehavior_DROP_RESTRICT,
		Def: &pg.Node{Node: &pg.Node_Constraint{Constraint: copied}},
	}
	return deparsed(&pg.Node{Node: &pg.Node_AlterTableStmt{AlterTableStmt: &pg.AlterTableStmt{
		Relation: relation, Objtype: n.GetObjtype(), MissingOk: n.GetMissingOk(),
		Cmds: []*pg.Node{{Node: &pg.Node_AlterTableCmd{AlterTableCmd: command}}},
	}}})
}

// concurrently is a CREATE INDEX that lets writers go on, under a name that a repeated run finds again.
func concurrently(n *pg.IndexStmt) string {
	copied := proto.Clone(n).(*pg.IndexStmt)
	copied.Concurrent, copied.IfNotExists = true, false
	if copied.Idxname == "" {
		parts := []string{n.GetRelation().GetRelname()}
		for _, p := range n.GetIndexParams() {
			parts = append(parts, cmp.Or(p.GetIndexElem().GetName(), functionName(p.GetIndexElem().GetExpr()), "expr"))
		}
		copied.Idxname = named(append(parts, "idx")...)
	}
	return deparsed(&pg.Node{Node: &pg.Node_IndexStmt{IndexStmt: copied}})
}

// functionName is the function of an expression that is a call, by which PostgreSQL names an index of it.
func functionName(n *pg.Node) string {
	names := namesIn(n.GetFuncCall().GetFuncname())
	if len(names) == 0 {
		return ""
	}
	return names[len(names)-1]
}

// uniqueIndex is a unique index for a constraint, to be created concurrently.
func uniqueIndex(name string, table statement.Name, c *pg.Constraint, columns []string) string {
	sql := "CREATE UNIQUE INDEX CONCURRENTLY " + statement.Quote(name) + " ON " + table.SQL() + " " + columnList(columns)
	if including := namesIn(c.GetIncluding()); len(including) > 0 {
		sql += " INCLUDE " + columnList(including)
	}
	if c.GetNullsNotDistinct() {
		sql += " NULLS NOT DISTINCT"
	}
	return sql + ";"
}

// namesIn are the names in a list of a syntax tree.
func namesIn(nodes []*pg.Node) []string {
	var list []string
	for _, n := range nodes {
		list = append(list, n.GetString_().GetSval())
	}
	return list
}

// notNull is how a column is made NOT NULL without looking at all rows under a lock: PostgreSQL 12 takes a validated CHECK
// as proof (release notes, E.22.3.1.5).
func notNull(table statement.Name, column string) string {
	check := statement.Quote(named(table.Name, column, "not_null"))
	return recipe(
		alter(table, "ADD CONSTRAINT "+check+" CHECK ("+statement.Quote(column)+" IS NOT NULL) NOT VALID"),
		later,
		alter(table, "VALIDATE CONSTRAINT "+check),
		alter(table, "ALTER COLUMN "+statement.Quote(column)+" SET NOT NULL"),
		alter(table, "DROP CONSTRAINT "+check),
	)
}

// fill is a file that fills a column in batches.
func fill(table statement.Name, column, value string) string {
	key := "id" // as most are called
	if column == key {
		key = "…"
	}
	return recipe("-- in a later file, by the table's key:",
		"-- deploy: backfill "+table.SQL()+" by "+key,
		"UPDATE "+table.SQL()+" SET "+column+" = "+value+" WHERE "+key+" BETWEEN $1 AND $2;")
}
