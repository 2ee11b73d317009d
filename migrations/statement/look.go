package statement

import (
	pg "github.com/pganalyze/pg_query_go/v6"
)

// look finds out what the statement does: its steps, locks, and what it makes and removes.
func (s *Statement) look() {
	s.lookAt(s.tree)
}

// lookAt is look for a statement or one that another holds (CREATE SCHEMA …, EXPLAIN ANALYZE …).
func (s *Statement) lookAt(tree *pg.Node) {
	switch n := tree.GetNode().(type) {
	case *pg.Node_SelectStmt, *pg.Node_InsertStmt, *pg.Node_UpdateStmt, *pg.Node_DeleteStmt, *pg.Node_MergeStmt:
		s.query(tree)
	case *pg.Node_CopyStmt:
		s.copy(n.CopyStmt)
	case *pg.Node_TruncateStmt:
		for _, r := range n.TruncateStmt.GetRelations() {
			table := Relation(r.GetRangeVar())
			s.add(Backfill, "removes every row of "+table.String(), relations(table)...)
			s.lock(table, "AccessExclusiveLock")
		}
	case *pg.Node_AlterTableStmt:
		s.alterTable(n.AlterTableStmt)
	case *pg.Node_DropStmt:
		s.drop(n.DropStmt)
	case *pg.Node_RenameStmt:
		s.rename(n.RenameStmt)
	case *pg.Node_AlterObjectSchemaStmt:
		s.move(n.AlterObjectSchemaStmt)
	case *pg.Node_AlterOwnerStmt:
		s.own(n.AlterOwnerStmt)
	case *pg.Node_DoStmt:
		s.do(n.DoStmt)
	case *pg.Node_CallStmt:
		s.obscure("calls procedure " + listed(n.CallStmt.GetFunccall().GetFuncname()).String() + ", which is not looked into")
	case *pg.Node_ExecuteStmt:
		s.obscure("executes prepared statement " + n.ExecuteStmt.GetName())
	case *pg.Node_AlterExtensionStmt:
		s.obscure("updates extension " + n.AlterExtensionStmt.GetExtname() + ", whose script is not looked into")
	case *pg.Node_ExplainStmt:
		for _, o := range n.ExplainStmt.GetOptions() {
			if o.GetDefElem().GetDefname() == "analyze" {
				s.lookAt(n.ExplainStmt.GetQuery())
			}
		}
	default:
		if !s.create(tree) && !s.privileges(tree) && !s.alterOther(tree) {
			s.maintain(tree)
		}
	}
}

// obscure is a statement that cannot be classified.
func (s *Statement) obscure(why string) {
	s.opaque = true
	s.add(Contract, why)
}

// privileges are the commands about who may do what.
func (s *Statement) privileges(tree *pg.Node) bool {
	switch n := tree.GetNode().(type) {
	case *pg.Node_GrantStmt:
		on := kindOf(n.GrantStmt.GetObjtype())
		var objects []Object
		for _, o := range n.GrantStmt.GetObjects() {
			objects = append(objects, Object{Kind: on, Name: named(o)})
		}
		switch {
		case n.GrantStmt.GetTargtype() == pg.GrantTargetType_ACL_TARGET_ALL_IN_SCHEMA:
			on = "all " + on + "s in schema " + objects[0].Name.Name
			objects = []Object{{Kind: "schema", Name: objects[0].Name}}
		case len(objects) == 1:
			on = objects[0].String()
		default:
			objects = nil // one that is old decides
			on += "s"
		}
		if n.GrantStmt.GetIsGrant() {
			s.add(Expand, "grants rights on "+on)
		} else {
			s.add(Contract, "revokes rights on "+on, objects...)
		}
	case *pg.Node_GrantRoleStmt:
		if n.GrantRoleStmt.GetIsGrant() {
			s.add(Expand, "grants a role")
		} else {
			s.add(Contract, "revokes a role")
		}
	case *pg.Node_AlterDefaultPrivilegesStmt: // of what will be made
	case *pg.Node_AlterRoleStmt:
		role := roleName(n.AlterRoleStmt.GetRole())
		s.add(Contract, "changes role "+role.String()+", which old code may connect as", Object{Kind: "role", Name: role})
	case *pg.Node_DropRoleStmt:
		for _, r := range n.DropRoleStmt.GetRoles() {
			role := Object{Kind: "role", Name: roleName(r.GetRoleSpec())}
			s.add(Contract, "drops "+role.String(), role)
			s.remove(role)
		}
	case *pg.Node_DropOwnedStmt:
		s.add(Contract, "drops all that a role owns")
	case *pg.Node_ReassignOwnedStmt:
		s.add(Contract, "gives all that a role owns to another")
	default:
		return false
	}
	return true
}

func roleName(r *pg.RoleSpec) Name {
	if r.GetRolename() != "" {
		return Name{Name: r.GetRolename()}
	}
	return Name{Name: "current_user"}
}

// maintain are the commands that change neither what is there nor what it answers.
func (s *Statement) maintain(tree *pg.Node) {
	switch n := tree.GetNode().(type) {
	case *pg.Node_VacuumStmt:
		mode := "ShareUpdateExclusiveLock"
		for _, o := range n.VacuumStmt.GetOptions() {
			if o.GetDefElem().GetDefname() == "full" && enabled(o.GetDefElem()) {
				mode = "AccessExclusiveLock"
			}
		}
		for _, r := range n.VacuumStmt.GetRels() {
			s.lock(Relation(r.GetVacuumRelation().GetRelation()), mode)
		}
	case *pg.Node_ClusterStmt:
		if n.ClusterStmt.GetRelation() != nil {
			s.lock(Relation(n.ClusterStmt.GetRelation()), "AccessExclusiveLock")
		}
	case *pg.Node_ReindexStmt:
		if n.ReindexStmt.GetKind() == pg.ReindexObjectType_REINDEX_OBJECT_TABLE {
			mode := "ShareLock"
			if Concurrent(n.ReindexStmt) {
				mode = "ShareUpdateExclusiveLock"
			}
			s.lock(Relation(n.ReindexStmt.GetRelation()), mode)
		}
	case *pg.Node_RefreshMatViewStmt:
		mode := "AccessExclusiveLock"
		if n.RefreshMatViewStmt.GetConcurrent() {
			mode = "ExclusiveLock"
		}
		s.lock(Relation(n.RefreshMatViewStmt.GetRelation()), mode)
	case *pg.Node_LockStmt:
		for _, r := range n.LockStmt.GetRelations() {
			if mode := int(n.LockStmt.GetMode()); mode < len(strength) {
				s.lock(Relation(r.GetRangeVar()), strength[mode])
			}
		}
	case *pg.Node_CommentStmt:
		for _, table := range commented(tree) {
			s.lock(table, "ShareUpdateExclusiveLock")
		}
	case *pg.Node_DeclareCursorStmt:
		s.query(n.DeclareCursorStmt.GetQuery())
	}
}

// Concurrent says whether a REINDEX lets writers go on.
func Concurrent(n *pg.ReindexStmt) bool {
	for _, p := range n.GetParams() {
		if p.GetDefElem().GetDefname() == "concurrently" && enabled(p.GetDefElem()) {
			return true
		}
	}
	return false
}

// enabled reads a boolean option, which is true where it has no value.
func enabled(d *pg.DefElem) bool {
	switch v := d.GetArg().GetNode().(type) {
	case *pg.Node_String_:
		return v.String_.GetSval() != "false" && v.String_.GetSval() != "off"
	case *pg.Node_Boolean:
		return v.Boolean.GetBoolval()
	case *pg.Node_Integer:
		return v.Integer.GetIval() != 0
	}
	return true
}
