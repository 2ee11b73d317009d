package statement

import (
	"slices"
	"strings"

	pg "github.com/pganalyze/pg_query_go/v6"
)

// Inverse is a statement that takes this one back, without losing what was there before it; ok says whether there is one.
// It is "" where there is nothing to take back (SET, ANALYZE, VALIDATE CONSTRAINT). Rows written afterwards go with the
// table or column that they were written into.
//
// What depends on what was there before has none: IF NOT EXISTS, OR REPLACE, a default that is changed, DROP, rows. Nor has
// what PostgreSQL names by itself, a primary key (its columns stay NOT NULL) and a constraint that takes over an index. SET
// NOT NULL is taken back by DROP NOT NULL, ENABLE ROW LEVEL SECURITY by DISABLE, for they are written where that was not so
// before.
func (s *Statement) Inverse() (sql string, ok bool) {
	switch n := s.tree.GetNode().(type) {
	case *pg.Node_AlterTableStmt:
		return inverseAlter(n.AlterTableStmt)
	case *pg.Node_RenameStmt:
		return inverseRename(n.RenameStmt)
	case *pg.Node_AlterObjectSchemaStmt:
		return inverseMove(n.AlterObjectSchemaStmt)
	case *pg.Node_AlterEnumStmt:
		e := n.AlterEnumStmt
		if e.GetOldVal() == "" {
			return "", false
		}
		return "ALTER TYPE " + listed(e.GetTypeName()).SQL() + " RENAME VALUE " + literal(e.GetNewVal()) + " TO " + literal(e.GetOldVal()), true
	case *pg.Node_AlterDomainStmt:
		return inverseDomain(n.AlterDomainStmt)
	case *pg.Node_SelectStmt:
		return "", len(s.steps) == 0
	case *pg.Node_VariableSetStmt, *pg.Node_VariableShowStmt, *pg.Node_VacuumStmt, *pg.Node_LockStmt, *pg.Node_ReindexStmt,
		*pg.Node_CheckPointStmt, *pg.Node_ConstraintsSetStmt, *pg.Node_TransactionStmt, *pg.Node_DiscardStmt, *pg.Node_NotifyStmt:
		return "", true
	}
	return s.inverseCreate()
}

// inverseCreate drops what is created.
func (s *Statement) inverseCreate() (string, bool) {
	if len(s.makes) != 1 || !s.certain(0) {
		return "", false
	}
	o := s.makes[0]
	drop := func(kind string) (string, bool) { return "DROP " + kind + " " + o.Name.SQL(), true }
	switch n := s.tree.GetNode().(type) {
	case *pg.Node_CreateStmt, *pg.Node_CreateForeignTableStmt, *pg.Node_CreateTableAsStmt, *pg.Node_ViewStmt, *pg.Node_CreateSeqStmt,
		*pg.Node_CompositeTypeStmt, *pg.Node_CreateEnumStmt, *pg.Node_CreateRangeStmt, *pg.Node_CreateDomainStmt,
		*pg.Node_CreateExtensionStmt, *pg.Node_CreateEventTrigStmt, *pg.Node_CreateRoleStmt, *pg.Node_CreatePublicationStmt,
		*pg.Node_CreateStatsStmt, *pg.Node_CreateSchemaStmt:
		return drop(strings.ToUpper(o.Kind))
	case *pg.Node_IndexStmt:
		if n.IndexStmt.GetConcurrent() {
			return drop("INDEX CONCURRENTLY")
		}
		return drop("INDEX")
	case *pg.Node_CreateTrigStmt, *pg.Node_CreatePolicyStmt, *pg.Node_RuleStmt:
		return "DROP " + strings.ToUpper(o.Kind) + " " + Quote(o.Part) + " ON " + o.Name.SQL(), true
	case *pg.Node_CreateFunctionStmt:
		return "DROP " + strings.ToUpper(o.Kind) + " " + o.Name.SQL() + "(" + signature(n.CreateFunctionStmt) + ")", true
	}
	return "", false
}

// signature are the types that a routine is found by: of a function those that go in, of a procedure all (DROP PROCEDURE).
func signature(n *pg.CreateFunctionStmt) string {
	var list []string
	for _, p := range n.GetParameters() {
		f := p.GetFunctionParameter()
		text := TypeText(f.GetArgType())
		switch f.GetMode() {
		case pg.FunctionParameterMode_FUNC_PARAM_TABLE:
			continue
		case pg.FunctionParameterMode_FUNC_PARAM_OUT:
			if !n.GetIsProcedure() {
				continue
			}
			text = "OUT " + text
		case pg.FunctionParameterMode_FUNC_PARAM_INOUT:
			text = "INOUT " + text
		case pg.FunctionParameterMode_FUNC_PARAM_VARIADIC:
			text = "VARIADIC " + text
		}
		list = append(list, text)
	}
	return strings.Join(list, ", ")
}

// inverseAlter takes the commands back in their reverse order.
func inverseAlter(n *pg.AlterTableStmt) (string, bool) {
	var commands []string
	for _, node := range n.GetCmds() {
		command, ok := inverseCommand(node.GetAlterTableCmd())
		if !ok {
			return "", false
		}
		if command != "" {
			commands = append(commands, command)
		}
	}
	if len(commands) == 0 {
		return "", true
	}
	slices.Reverse(commands)
	word := objectWords[n.GetObjtype()]
	if n.GetMissingOk() {
		word += " IF EXISTS"
	}
	if hasRows(n.GetObjtype()) && !n.GetRelation().GetInh() {
		word += " ONLY"
	}
	return "ALTER " + word + " " + Relation(n.GetRelation()).SQL() + " " + strings.Join(commands, ", "), true
}

func inverseCommand(cmd *pg.AlterTableCmd) (string, bool) {
	name := Quote(cmd.GetName())
	switch cmd.GetSubtype() {
	case pg.AlterTableType_AT_AddColumn:
		return "DROP COLUMN " + Quote(cmd.GetDef().GetColumnDef().GetColname()), !cmd.GetMissingOk()
	case pg.AlterTableType_AT_AddConstraint:
		c := cmd.GetDef().GetConstraint()
		exact := c.GetConname() != "" && c.GetIndexname() == "" && c.GetContype() != pg.ConstrType_CONSTR_PRIMARY
		return "DROP CONSTRAINT " + Quote(c.GetConname()), exact
	case pg.AlterTableType_AT_ValidateConstraint:
		return "", true
	case pg.AlterTableType_AT_SetNotNull:
		return "ALTER COLUMN " + name + " DROP NOT NULL", true
	case pg.AlterTableType_AT_AddIdentity:
		return "ALTER COLUMN " + name + " DROP IDENTITY", true
	case pg.AlterTableType_AT_EnableRowSecurity:
		return "DISABLE ROW LEVEL SECURITY", true
	case pg.AlterTableType_AT_ForceRowSecurity:
		return "NO FORCE ROW LEVEL SECURITY", true
	}
	return "", false
}

// inverseRename renames back.
func inverseRename(n *pg.RenameStmt) (string, bool) {
	if n.GetMissingOk() {
		return "", false
	}
	alter := "ALTER " + renamed(n) + " "
	on := Relation(n.GetRelation())
	to, from := Quote(n.GetSubname()), Quote(n.GetNewname())
	switch n.GetRenameType() {
	case pg.ObjectType_OBJECT_COLUMN:
		return alter + on.SQL() + " RENAME COLUMN " + from + " TO " + to, true
	case pg.ObjectType_OBJECT_ATTRIBUTE:
		return alter + on.SQL() + " RENAME ATTRIBUTE " + from + " TO " + to, true
	case pg.ObjectType_OBJECT_TABCONSTRAINT:
		return alter + on.SQL() + " RENAME CONSTRAINT " + from + " TO " + to, true
	case pg.ObjectType_OBJECT_DOMCONSTRAINT:
		return alter + named(n.GetObject()).SQL() + " RENAME CONSTRAINT " + from + " TO " + to, true
	case pg.ObjectType_OBJECT_TRIGGER, pg.ObjectType_OBJECT_POLICY, pg.ObjectType_OBJECT_RULE:
		return alter + from + " ON " + on.SQL() + " RENAME TO " + to, true
	case pg.ObjectType_OBJECT_SCHEMA, pg.ObjectType_OBJECT_ROLE, pg.ObjectType_OBJECT_DATABASE, pg.ObjectType_OBJECT_TABLESPACE:
		return alter + from + " RENAME TO " + to, true
	}
	old := on
	switch {
	case n.GetRelation() != nil:
	case n.GetObject().GetObjectWithArgs() != nil:
		return "", false // the types of its arguments would have to be written again
	case n.GetObject() != nil:
		old = named(n.GetObject())
	default:
		return "", false
	}
	return alter + Name{old.Schema, n.GetNewname()}.SQL() + " RENAME TO " + Quote(old.Name), true
}

// inverseMove moves back to the schema that the statement writes.
func inverseMove(n *pg.AlterObjectSchemaStmt) (string, bool) {
	was := named(n.GetObject())
	if n.GetRelation() != nil {
		was = Relation(n.GetRelation())
	}
	if was.Schema == "" || n.GetMissingOk() || n.GetObject().GetObjectWithArgs() != nil {
		return "", false
	}
	return "ALTER " + objectWords[n.GetObjectType()] + " " + Name{n.GetNewschema(), was.Name}.SQL() + " SET SCHEMA " + Quote(was.Schema), true
}

func inverseDomain(n *pg.AlterDomainStmt) (string, bool) {
	domain := "ALTER DOMAIN " + listed(n.GetTypeName()).SQL()
	switch name := n.GetDef().GetConstraint().GetConname(); {
	case n.GetSubtype() == "C" && name != "":
		return domain + " DROP CONSTRAINT " + Quote(name), true
	case n.GetSubtype() == "O":
		return domain + " DROP NOT NULL", true
	case n.GetSubtype() == "V":
		return "", true
	}
	return "", false
}
