package rules

import (
	"fmt"

	pg "github.com/pganalyze/pg_query_go/v6"

	"github.com/metaextract/pipeline/migrations/finding"
	"github.com/metaextract/pipeline/migrations/statement"
)

func (c *check) drop(n *pg.DropStmt) {
	for _, o := range c.now.Removes() {
		if c.fresh(o.Name) && o.Part == "" {
			continue
		}
		switch n.GetRemoveType() {
		case pg.ObjectType_OBJECT_TABLE, pg.ObjectType_OBJECT_FOREIGN_TABLE:
			c.warn("ban-drop-table", o, 0, "Old code that uses "+o.String()+" fails",
				recipe("-- release code that does not use it; then "+release[3:],
					"-- deploy: irreversible the rows of "+o.Name.String()+" are gone", "DROP TABLE "+o.Name.SQL()+";"))
			if n.GetRemoveType() == pg.ObjectType_OBJECT_TABLE {
				c.loses(o.String())
			}
		case pg.ObjectType_OBJECT_SCHEMA:
			if n.GetBehavior() == pg.DropBehavior_DROP_CASCADE {
				c.loses(o.String())
			}
		case pg.ObjectType_OBJECT_INDEX:
			if !n.GetConcurrent() {
				c.note("require-concurrent-index-deletion", o, 0, "Dropping "+o.String()+" waits for all that use its table, and all others wait behind it",
					recipe(alone, "DROP INDEX CONCURRENTLY "+o.Name.SQL()+";"))
			}
		}
		c.cascades(o, n.GetBehavior())
	}
}

// cascades is about CASCADE.
func (c *check) cascades(o fmt.Stringer, behavior pg.DropBehavior) {
	if behavior == pg.DropBehavior_DROP_CASCADE {
		c.warn("drop-cascade", o, 0, "What depends on "+o.String()+" is dropped too, whatever it is when the migration runs",
			"-- without CASCADE, after dropping by name what may go with it")
	}
}

// loses keeps what data is dropped.
func (c *check) loses(what string) {
	if len(c.dropped) == 0 {
		c.droppedAt.index, c.droppedAt.shift = c.index, c.shift
	}
	c.dropped = append(c.dropped, what)
}

func (c *check) rename(n *pg.RenameStmt) {
	if len(c.now.Removes()) == 0 {
		return
	}
	was, is := c.now.Removes()[0], c.now.Makes()[0]
	if c.fresh(was.Name) || was.Part != "" && c.now.NewColumn(statement.Column{Table: was.Name, Column: was.Part}) {
		return
	}
	switch n.GetRenameType() {
	case pg.ObjectType_OBJECT_COLUMN:
		c.renameColumn(was, is)
	case pg.ObjectType_OBJECT_TABLE:
		if c.comesBack(was.Name) {
			return
		}
		c.warn("renaming-table", was, 0, "Old code that uses "+was.String()+" fails", recipe(
			"ALTER TABLE "+was.Name.SQL()+" RENAME TO "+statement.Quote(is.Name.Name)+";",
			"-- in the same file, so that old code goes on:",
			"CREATE VIEW "+was.Name.SQL()+" AS SELECT * FROM "+is.Name.SQL()+";",
			release, "DROP VIEW "+was.Name.SQL()+";"))
	case pg.ObjectType_OBJECT_INDEX, pg.ObjectType_OBJECT_STATISTIC_EXT, pg.ObjectType_OBJECT_TRIGGER, pg.ObjectType_OBJECT_POLICY,
		pg.ObjectType_OBJECT_RULE, pg.ObjectType_OBJECT_EVENT_TRIGGER, pg.ObjectType_OBJECT_TABCONSTRAINT, pg.ObjectType_OBJECT_DOMCONSTRAINT,
		pg.ObjectType_OBJECT_TABLESPACE:
	default:
		c.warn("renaming-object", was, 0, "Old code that uses "+was.String()+" fails", "-- make a second one under the new name, and drop the old one in a later release")
	}
}

func (c *check) renameColumn(was, is statement.Object) {
	typ, known := c.typeOf(statement.Column{Table: was.Name, Column: was.Part})
	if !known {
		typ = "…"
	}
	old, next := statement.Quote(was.Part), statement.Quote(is.Part)
	c.warn("renaming-column", was, 0, "Old code that names column "+was.Part+" of "+was.Name.String()+" fails", recipe(
		alter(was.Name, "ADD COLUMN "+next+" "+typ), "-- write both columns in the code or by a trigger, and",
		fill(was.Name, next, old), "-- read the new column in the code; then", release, alter(was.Name, "DROP COLUMN "+old)))
}

// comesBack says whether a later statement of the script makes something under the name: a view, or the table's successor.
func (c *check) comesBack(name statement.Name) bool {
	for _, st := range c.list[c.index+1:] {
		for _, o := range st.Makes() {
			if (o.Kind == "view" || o.Kind == "table") && o.Part == "" && o.Name.Is(name) {
				return true
			}
		}
	}
	return false
}

func (c *check) move(n *pg.AlterObjectSchemaStmt) {
	if n.GetObjectType() == pg.ObjectType_OBJECT_EXTENSION || len(c.now.Removes()) == 0 {
		return
	}
	was := c.now.Removes()[0]
	if c.fresh(was.Name) || c.comesBack(was.Name) {
		return
	}
	c.warn("moving-object", was, 0, "Old code whose search_path does not find schema "+n.GetNewschema()+", or that names the old one, does not find "+was.String(),
		"-- leave a view under the old name in the same file, or add the schema to the search_path of the role first")
}

func (c *check) dropDatabase(n *pg.DropdbStmt) {
	c.hint(finding.Refuse, "ban-drop-database", statement.Object{Kind: "database", Name: statement.Name{Name: n.GetDbname()}}, 0,
		"A migration must not drop a database: nothing brings it back but a backup", "-- drop it by hand, when a backup is proven")
}
