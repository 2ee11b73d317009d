package rules

import (
	"fmt"
	"regexp"
	"strings"

	pg "github.com/pganalyze/pg_query_go/v6"

	"github.com/metaextract/pipeline/migrations/statement"
)

func (c *check) update(n *pg.UpdateStmt) {
	c.backfill("UPDATE", statement.Relation(n.GetRelation()), n.GetWhereClause() != nil)
}

func (c *check) delete(n *pg.DeleteStmt) {
	c.backfill("DELETE", statement.Relation(n.GetRelation()), n.GetWhereClause() != nil)
}

// backfill is about the change of many rows in one transaction.
func (c *check) backfill(verb string, table statement.Name, chosen bool) {
	if c.fresh(table) || c.script.Declared.Backfill != nil {
		return
	}
	rows, known := c.rows(table)
	var message string
	switch {
	case chosen && known && rows > large:
		message = fmt.Sprintf("%s changes an unknown part of the about %d rows of %s in one transaction", verb, rows, table)
	case !chosen:
		message = verb + " changes all rows of " + table.String() + " in one transaction"
	default:
		return
	}
	c.slowly("unbatched-backfill", table, tableObject(table), 0,
		message+": whoever writes one of them waits until it ends, and the old versions take up as much space again", c.batched(table, chosen))
}

var semicolon = regexp.MustCompile(`[\s;]*$`)

// batched is the statement as a backfill.
func (c *check) batched(table statement.Name, chosen bool) string {
	join := " WHERE "
	if chosen {
		join = " AND " // behind what may hold an OR: hence the parentheses in the comment
	}
	sql := semicolon.ReplaceAllString(c.now.SQL(), "")
	if before, returning, ok := cutReturning(sql); ok {
		sql = before + "\n-- " + strings.ReplaceAll(returning, "\n", " ")
		join = "\n" + strings.TrimSpace(join) + " "
	}
	lines := []string{alone, "-- deploy: backfill " + table.SQL() + " by id"}
	if chosen {
		lines = append(lines, "-- (parentheses around the condition where it has an OR)")
	}
	return recipe(append(lines, sql+join+"id BETWEEN $1 AND $2;")...)
}

var returningWord = regexp.MustCompile(`(?is)^(.*\S)\s+(RETURNING\s.*)$`)

func cutReturning(sql string) (before, returning string, ok bool) {
	m := returningWord.FindStringSubmatch(sql)
	if m == nil {
		return "", "", false
	}
	return m[1], m[2], true
}

func (c *check) truncate(n *pg.TruncateStmt) {
	for _, r := range n.GetRelations() {
		table := statement.Relation(r.GetRangeVar())
		if c.fresh(table) {
			continue
		}
		c.warn("truncate", tableObject(table), 0, "Every row of "+table.String()+" is removed, and all that use it must end first",
			"-- deploy: irreversible the rows of "+table.String()+" are gone")
		c.loses(tableObject(table).String())
		if n.GetBehavior() == pg.DropBehavior_DROP_CASCADE {
			c.warn("ban-truncate-cascade", tableObject(table), 0,
				"CASCADE empties every table that has a foreign key to "+table.String()+", and those that have one to them, whichever that is when the migration runs",
				"-- name the tables: TRUNCATE a, b;")
		}
	}
}

func (c *check) lockTable(n *pg.LockStmt) {
	for _, r := range n.GetRelations() {
		table := statement.Relation(r.GetRangeVar())
		if others := keeps(c.now.Locks()[table]); others != "" {
			c.warn("lock-table", tableObject(table), 0, "Nobody can "+others+" "+table.String()+" until the file is committed",
				"-- leave it out: every statement takes the lock that it needs")
		}
	}
}

func (c *check) vacuum(n *pg.VacuumStmt) {
	if !n.GetIsVacuumcmd() {
		return
	}
	full := false
	for _, mode := range c.now.Locks() {
		full = full || mode == "AccessExclusiveLock"
	}
	for _, o := range n.GetOptions() {
		full = full || o.GetDefElem().GetDefname() == "full" && len(n.GetRels()) == 0
	}
	if !full {
		return
	}
	table := statement.Name{Name: "the database"}
	if rels := n.GetRels(); len(rels) > 0 {
		table = statement.Relation(rels[0].GetVacuumRelation().GetRelation())
	}
	c.repack(table, "VACUUM FULL")
}

func (c *check) cluster(n *pg.ClusterStmt) {
	table := statement.Name{Name: "the database"}
	if n.GetRelation() != nil {
		table = statement.Relation(n.GetRelation())
	}
	c.repack(table, "CLUSTER")
}

func (c *check) repack(table statement.Name, command string) {
	if c.fresh(table) {
		return
	}
	fix := "-- use the extension pg_repack, outside of migrations: pg_repack --table=" + table.String()
	if c.options.Major >= 19 {
		fix = recipe(alone, "REPACK (CONCURRENTLY) "+table.SQL()+";")
	}
	c.slowly("prefer-repack", table, tableObject(table), 0, command+" writes "+table.String()+" anew; nobody can read or write it meanwhile", fix)
}

func (c *check) refresh(n *pg.RefreshMatViewStmt) {
	view := statement.Relation(n.GetRelation())
	if n.GetConcurrent() || n.GetSkipData() || c.fresh(view) {
		return
	}
	c.slow = true
	c.warn("refresh-without-concurrently", statement.Object{Kind: "materialized view", Name: view}, 0,
		"Nobody can read "+view.String()+" while it is computed anew",
		recipe("-- it needs a unique index over all rows:", "REFRESH MATERIALIZED VIEW CONCURRENTLY "+view.SQL()+";"))
}
