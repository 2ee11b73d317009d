package rules

import (
	pg "github.com/pganalyze/pg_query_go/v6"

	"github.com/metaextract/pipeline/migrations/statement"
)

// statement gives the hints for the current statement.
func (c *check) statement() {
	c.opacity()
	if c.now.Tree() == nil {
		return
	}
	switch n := c.now.Tree().GetNode().(type) {
	case *pg.Node_AlterTableStmt:
		c.alterTable(n.AlterTableStmt)
	case *pg.Node_CreateStmt:
		c.createTable(n.CreateStmt)
	case *pg.Node_IndexStmt:
		c.createIndex(n.IndexStmt)
	case *pg.Node_DropStmt:
		c.drop(n.DropStmt)
	case *pg.Node_RenameStmt:
		c.rename(n.RenameStmt)
	case *pg.Node_AlterObjectSchemaStmt:
		c.move(n.AlterObjectSchemaStmt)
	case *pg.Node_DropdbStmt:
		c.dropDatabase(n.DropdbStmt)
	case *pg.Node_CreateDomainStmt:
		c.createDomain(n.CreateDomainStmt)
	case *pg.Node_AlterDomainStmt:
		c.alterDomain(n.AlterDomainStmt)
	case *pg.Node_AlterEnumStmt:
		c.alterEnum(n.AlterEnumStmt)
	case *pg.Node_UpdateStmt:
		c.update(n.UpdateStmt)
	case *pg.Node_DeleteStmt:
		c.delete(n.DeleteStmt)
	case *pg.Node_TruncateStmt:
		c.truncate(n.TruncateStmt)
	case *pg.Node_LockStmt:
		c.lockTable(n.LockStmt)
	case *pg.Node_VacuumStmt:
		c.vacuum(n.VacuumStmt)
	case *pg.Node_ClusterStmt:
		c.cluster(n.ClusterStmt)
	case *pg.Node_ReindexStmt:
		c.reindex(n.ReindexStmt)
	case *pg.Node_RefreshMatViewStmt:
		c.refresh(n.RefreshMatViewStmt)
	}
	c.duplicates()
}

// alterTable gives the hints for each command of an ALTER TABLE.
func (c *check) alterTable(n *pg.AlterTableStmt) {
	if n.GetObjtype() != pg.ObjectType_OBJECT_TABLE && n.GetObjtype() != pg.ObjectType_OBJECT_FOREIGN_TABLE {
		return
	}
	table := statement.Relation(n.GetRelation())
	c.preferences(definitions(n.GetCmds()))
	for _, node := range n.GetCmds() {
		cmd := node.GetAlterTableCmd()
		if !c.fresh(table) {
			c.command(n, cmd, table)
		}
		c.remember(cmd, table)
	}
}

// command gives the hints for a command on a table that is in use.
func (c *check) command(n *pg.AlterTableStmt, cmd *pg.AlterTableCmd, table statement.Name) {
	switch cmd.GetSubtype() {
	case pg.AlterTableType_AT_AddColumn:
		c.addColumn(table, cmd.GetDef().GetColumnDef())
	case pg.AlterTableType_AT_DropColumn:
		c.dropColumn(table, cmd)
	case pg.AlterTableType_AT_AlterColumnType:
		c.changeType(table, cmd.GetName(), cmd.GetDef().GetColumnDef())
	case pg.AlterTableType_AT_SetNotNull:
		c.setNotNull(table, cmd.GetName())
	case pg.AlterTableType_AT_DropNotNull:
		c.note("ban-drop-not-null", columnObject(table, cmd.GetName()), 0,
			"Old code may not expect a null in column "+cmd.GetName()+" when it reads", "-- release code that copes with nulls first")
	case pg.AlterTableType_AT_AddConstraint:
		c.addConstraint(n, table, cmd.GetDef().GetConstraint())
	case pg.AlterTableType_AT_ValidateConstraint:
		c.validate(table, cmd.GetName())
	case pg.AlterTableType_AT_SetLogged, pg.AlterTableType_AT_SetUnLogged, pg.AlterTableType_AT_SetTableSpace,
		pg.AlterTableType_AT_SetAccessMethod, pg.AlterTableType_AT_SetExpression:
		c.slowly("table-rewrite", table, tableObject(table), 0,
			"The command writes table "+table.String()+" anew; nobody can read or write it meanwhile", "-- do it when nobody minds, or to a new table that is filled in batches")
	case pg.AlterTableType_AT_DisableTrig, pg.AlterTableType_AT_DisableTrigAll, pg.AlterTableType_AT_DisableTrigUser:
		c.warn("triggers-disabled", tableObject(table), 0,
			"While triggers of "+table.String()+" are disabled nothing checks its foreign keys and nothing else that relies on them happens, for all sessions",
			"SET LOCAL session_replication_role = replica; -- of this transaction alone; needs a superuser")
	case pg.AlterTableType_AT_AttachPartition:
		c.attach(cmd.GetDef().GetPartitionCmd())
	case pg.AlterTableType_AT_DetachPartition:
		c.detach(table, cmd.GetDef().GetPartitionCmd())
	}
}

// remember keeps what later statements are judged by.
func (c *check) remember(cmd *pg.AlterTableCmd, table statement.Name) {
	switch def := cmd.GetDef(); cmd.GetSubtype() {
	case pg.AlterTableType_AT_AddColumn:
		c.types[plain(statement.Column{Table: table, Column: def.GetColumnDef().GetColname()})] = statement.TypeText(def.GetColumnDef().GetTypeName())
	case pg.AlterTableType_AT_AlterColumnType:
		c.types[plain(statement.Column{Table: table, Column: cmd.GetName()})] = statement.TypeText(def.GetColumnDef().GetTypeName())
	case pg.AlterTableType_AT_AddConstraint:
		con := def.GetConstraint()
		if con.GetContype() == pg.ConstrType_CONSTR_CHECK {
			c.checks = append(c.checks, table)
		}
		if con.GetSkipValidation() {
			c.unchecked = append(c.unchecked, checked{table, con.GetConname(), notNullColumn(con)})
		} else {
			c.validated = append(c.validated, checked{table, con.GetConname(), notNullColumn(con)})
		}
	case pg.AlterTableType_AT_ValidateConstraint:
		c.validated = append(c.validated, c.constraint(table, cmd.GetName()))
	}
}

// constraint is one that the script added NOT VALID; where an earlier script did, it may be any CHECK of the table.
func (c *check) constraint(table statement.Name, name string) checked {
	for _, u := range c.unchecked {
		if u.table.Is(table) && u.name == name {
			return u
		}
	}
	return checked{table: table, name: name, column: "*"}
}
