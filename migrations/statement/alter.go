package statement

import (
	"slices"
	"strings"

	pg "github.com/pganalyze/pg_query_go/v6"
)

func (s *Statement) alterTable(n *pg.AlterTableStmt) {
	for i := range n.GetCmds() {
		s.alter(n, n.GetCmds()[i].GetAlterTableCmd())
	}
}

// alter is one command of an ALTER TABLE, VIEW, INDEX, SEQUENCE or TYPE.
func (s *Statement) alter(n *pg.AlterTableStmt, cmd *pg.AlterTableCmd) {
	kind, table := kindOf(n.GetObjtype()), Relation(n.GetRelation())
	if hasRows(n.GetObjtype()) {
		s.lock(table, alterLock(cmd))
	}
	if kind == "type" {
		s.alterAttribute(table, cmd)
		return
	}
	column := columnOf(table, cmd.GetName())
	on := relations(table)
	ofColumn := append(slices.Clone(on), column)
	switch t := cmd.GetSubtype(); t {
	case pg.AlterTableType_AT_AddColumn:
		s.addColumn(table, cmd.GetDef().GetColumnDef())
	case pg.AlterTableType_AT_DropColumn:
		s.remove(column)
		why := "drops " + column.String()
		if cmd.GetBehavior() == pg.DropBehavior_DROP_CASCADE {
			why += " and all that depends on it"
		}
		s.add(Contract, why, ofColumn...)
	case pg.AlterTableType_AT_AlterColumnType:
		s.add(Contract, "changes the type of "+column.String()+" to "+TypeText(cmd.GetDef().GetColumnDef().GetTypeName()), ofColumn...)
	case pg.AlterTableType_AT_SetNotNull:
		s.add(Contract, "makes "+column.String()+" NOT NULL", on...)
	case pg.AlterTableType_AT_DropNotNull:
		s.add(Expand, "lets "+column.String()+" be null, which old code may not expect when it reads")
	case pg.AlterTableType_AT_ColumnDefault:
		if cmd.GetDef() == nil {
			s.add(Contract, "drops the default of "+column.String(), ofColumn...)
		} else {
			s.add(Expand, "changes the default of "+column.String())
		}
	case pg.AlterTableType_AT_DropExpression:
		s.add(Contract, "stops generating "+column.String(), ofColumn...)
	case pg.AlterTableType_AT_SetExpression:
		s.add(Backfill, "generates "+column.String()+" anew", ofColumn...)
	case pg.AlterTableType_AT_AddIdentity, pg.AlterTableType_AT_SetIdentity:
		if always(cmd.GetDef()) {
			s.add(Contract, "generates "+column.String()+" ALWAYS, so that nobody can write it", ofColumn...)
		} else {
			s.add(Expand, "generates "+column.String())
		}
	case pg.AlterTableType_AT_DropIdentity:
		s.add(Contract, "stops generating "+column.String(), ofColumn...)
	case pg.AlterTableType_AT_AddConstraint:
		s.addConstraint(table, cmd.GetDef().GetConstraint())
	case pg.AlterTableType_AT_DropConstraint:
		c := Object{Kind: "constraint", Name: table, Part: cmd.GetName()}
		s.remove(c)
		s.add(Expand, "drops "+c.String())
	case pg.AlterTableType_AT_AlterConstraint:
		c := cmd.GetDef().GetConstraint()
		if c.GetDeferrable() {
			s.add(Expand, "lets constraint "+c.GetConname()+" of "+table.String()+" be deferred")
		} else {
			s.add(Contract, "makes constraint "+c.GetConname()+" of "+table.String()+" not deferrable", on...)
		}
	case pg.AlterTableType_AT_ChangeOwner:
		s.add(Contract, "gives "+kind+" "+table.String()+" to another owner", on...)
	case pg.AlterTableType_AT_EnableRowSecurity, pg.AlterTableType_AT_ForceRowSecurity:
		s.add(Contract, "hides rows of "+table.String()+" by row-level security", on...)
	case pg.AlterTableType_AT_DisableRowSecurity, pg.AlterTableType_AT_NoForceRowSecurity:
		s.add(Expand, "shows all rows of "+table.String())
	case pg.AlterTableType_AT_EnableTrig, pg.AlterTableType_AT_EnableAlwaysTrig, pg.AlterTableType_AT_EnableReplicaTrig,
		pg.AlterTableType_AT_EnableTrigAll, pg.AlterTableType_AT_EnableTrigUser:
		s.add(Expand, "enables triggers of "+table.String())
	case pg.AlterTableType_AT_DisableTrig, pg.AlterTableType_AT_DisableTrigAll, pg.AlterTableType_AT_DisableTrigUser:
		s.add(Contract, "disables triggers of "+table.String(), on...)
	case pg.AlterTableType_AT_EnableRule, pg.AlterTableType_AT_EnableAlwaysRule, pg.AlterTableType_AT_EnableReplicaRule,
		pg.AlterTableType_AT_DisableRule:
		s.add(Contract, "switches rule "+cmd.GetName()+" of "+table.String(), on...)
	case pg.AlterTableType_AT_AddInherit:
		s.add(Expand, "adds the rows of "+table.String()+" to "+Relation(cmd.GetDef().GetRangeVar()).String())
		s.lock(Relation(cmd.GetDef().GetRangeVar()), "ShareUpdateExclusiveLock")
	case pg.AlterTableType_AT_DropInherit:
		s.add(Contract, "takes the rows of "+table.String()+" out of "+Relation(cmd.GetDef().GetRangeVar()).String(), on...)
		s.lock(Relation(cmd.GetDef().GetRangeVar()), "ShareUpdateExclusiveLock")
	case pg.AlterTableType_AT_AttachPartition:
		part := Relation(cmd.GetDef().GetPartitionCmd().GetName())
		if kind == "table" {
			s.add(Expand, "adds the rows of "+part.String()+" to "+table.String())
			s.lock(part, "AccessExclusiveLock")
		}
	case pg.AlterTableType_AT_DetachPartition, pg.AlterTableType_AT_DetachPartitionFinalize:
		part := Relation(cmd.GetDef().GetPartitionCmd().GetName())
		s.add(Contract, "takes the rows of "+part.String()+" out of "+table.String(), append(relations(part), on...)...)
		mode := "AccessExclusiveLock"
		if cmd.GetDef().GetPartitionCmd().GetConcurrent() {
			mode = "ShareUpdateExclusiveLock" // on the parent; on the partition it ends with the strongest, when nobody uses it
		}
		s.lock(part, mode)
	}
}

// always says whether an identity is generated always.
func always(def *pg.Node) bool {
	if c := def.GetConstraint(); c != nil {
		return c.GetGeneratedWhen() == "a"
	}
	for _, o := range def.GetList().GetItems() { // SET GENERATED ALWAYS: the letter as a number
		if d := o.GetDefElem(); d.GetDefname() == "generated" && d.GetArg().GetInteger().GetIval() == 'a' {
			return true
		}
	}
	return false
}

// serials are the types that bring a default.
var serials = []string{"serial", "bigserial", "smallserial", "serial2", "serial4", "serial8"}

// Definition is what a column definition says of rows that do not name the column.
type Definition struct {
	NotNull   bool     // also as a primary key
	Default   *pg.Node // nil where there is none, or it is NULL
	Generated *pg.Node // the expression of GENERATED ALWAYS AS (…)
	Identity  bool
	Serial    bool
	Unique    bool // also as a primary key
}

// Defined reads a column definition.
func Defined(d *pg.ColumnDef) Definition {
	c := Definition{Serial: slices.Contains(serials, listed(d.GetTypeName().GetNames()).Name)}
	for _, n := range d.GetConstraints() {
		switch con := n.GetConstraint(); con.GetContype() {
		case pg.ConstrType_CONSTR_NOTNULL:
			c.NotNull = true
		case pg.ConstrType_CONSTR_PRIMARY:
			c.NotNull, c.Unique = true, true
		case pg.ConstrType_CONSTR_UNIQUE:
			c.Unique = true
		case pg.ConstrType_CONSTR_IDENTITY:
			c.NotNull, c.Identity = true, true
		case pg.ConstrType_CONSTR_GENERATED:
			c.Generated = con.GetRawExpr()
		case pg.ConstrType_CONSTR_DEFAULT:
			if !isNull(con.GetRawExpr()) {
				c.Default = con.GetRawExpr()
			}
		}
	}
	return c
}

// Filled says whether rows that do not name the column get a value.
func (c Definition) Filled() bool {
	return c.Default != nil || c.Generated != nil || c.Identity || c.Serial
}

// isNull is NULL, also with a type.
func isNull(n *pg.Node) bool {
	if c := n.GetTypeCast(); c != nil {
		return isNull(c.GetArg())
	}
	return n.GetAConst().GetIsnull()
}

func (s *Statement) addColumn(table Name, d *pg.ColumnDef) {
	column, c := columnOf(table, d.GetColname()), Defined(d)
	s.make(column)
	on := relations(table)
	switch {
	case c.NotNull && !c.Filled():
		s.add(Contract, "adds "+column.String()+", NOT NULL without a default, which old code's INSERT leaves out", on...)
	case c.Unique && c.Default != nil:
		s.add(Contract, "adds "+column.String()+", unique with a default that all rows of old code would share", on...)
	default:
		s.add(Expand, "adds "+column.String())
	}
	for _, n := range d.GetConstraints() {
		if other := n.GetConstraint().GetPktable(); other != nil {
			s.lock(Relation(other), "ShareRowExclusiveLock")
		}
	}
}

// plainColumns are the columns it adds nullable and without a default.
func (s *Statement) plainColumns() []Object {
	n := s.tree.GetAlterTableStmt()
	var list []Object
	for _, node := range n.GetCmds() {
		cmd := node.GetAlterTableCmd()
		if d := cmd.GetDef().GetColumnDef(); cmd.GetSubtype() == pg.AlterTableType_AT_AddColumn && !cmd.GetMissingOk() {
			if c := Defined(d); !c.NotNull && !c.Filled() {
				list = append(list, columnOf(Relation(n.GetRelation()), d.GetColname()))
			}
		}
	}
	return list
}

// optional says whether the i-th of the objects that an ALTER TABLE makes may have been there.
func (s *Statement) optional(i int) bool {
	for _, node := range s.tree.GetAlterTableStmt().GetCmds() {
		cmd := node.GetAlterTableCmd()
		if cmd.GetMissingOk() && cmd.GetDef().GetColumnDef() != nil && cmd.GetDef().GetColumnDef().GetColname() == s.makes[i].Part {
			return true
		}
	}
	return false
}

// constraintWords are the kinds of constraints as SQL calls them.
var constraintWords = map[pg.ConstrType]string{
	pg.ConstrType_CONSTR_CHECK: "CHECK", pg.ConstrType_CONSTR_UNIQUE: "UNIQUE", pg.ConstrType_CONSTR_PRIMARY: "PRIMARY KEY",
	pg.ConstrType_CONSTR_EXCLUSION: "EXCLUDE", pg.ConstrType_CONSTR_FOREIGN: "FOREIGN KEY", pg.ConstrType_CONSTR_NOTNULL: "NOT NULL",
}

func (s *Statement) addConstraint(table Name, c *pg.Constraint) {
	object := Object{Kind: "constraint", Name: table, Part: c.GetConname()}
	why := "adds a constraint to " + table.String() + ": " + constraintWords[c.GetContype()]
	if c.GetConname() != "" {
		s.make(object)
		why = "adds " + object.String() + ": " + constraintWords[c.GetContype()]
	}
	columns := append(texts(c.GetKeys()), texts(c.GetFkAttrs())...)
	if len(columns) > 0 {
		why += " (" + strings.Join(columns, ", ") + ")"
	}
	st := step{class: Contract, why: why, on: relations(table)}
	switch c.GetContype() {
	case pg.ConstrType_CONSTR_UNIQUE:
		if c.GetIndexname() != "" {
			st.class = Expand
		}
		st.plainly = func(k *known) bool {
			return !c.GetNullsNotDistinct() && slices.ContainsFunc(columns, func(name string) bool { return k.nullable(table, name) })
		}
	case pg.ConstrType_CONSTR_FOREIGN:
		s.lock(Relation(c.GetPktable()), "ShareRowExclusiveLock")
		st.plainly = func(k *known) bool {
			return !slices.ContainsFunc(columns, func(name string) bool { return !k.column(table, name) })
		}
	}
	s.steps = append(s.steps, st)
}

// alterAttribute is a command about a composite type.
func (s *Statement) alterAttribute(name Name, cmd *pg.AlterTableCmd) {
	attribute := Object{Kind: "attribute", Name: name, Part: cmd.GetName()}
	on := []Object{{Kind: "type", Name: name}}
	switch cmd.GetSubtype() {
	case pg.AlterTableType_AT_AddColumn:
		attribute.Part = cmd.GetDef().GetColumnDef().GetColname()
		s.creates(attribute)
	case pg.AlterTableType_AT_DropColumn:
		s.remove(attribute)
		s.add(Contract, "drops "+attribute.String(), on...)
	default:
		s.add(Contract, "changes "+attribute.String(), on...)
	}
}
