package statement

import (
	"slices"
	"strings"

	pg "github.com/pganalyze/pg_query_go/v6"
)

// create are the commands that add something.
func (s *Statement) create(tree *pg.Node) bool {
	switch n := tree.GetNode().(type) {
	case *pg.Node_CreateStmt:
		s.createTable(n.CreateStmt, "table")
	case *pg.Node_CreateForeignTableStmt:
		s.createTable(n.CreateForeignTableStmt.GetBaseStmt(), "foreign table")
	case *pg.Node_CreateTableAsStmt:
		kind := "table"
		if n.CreateTableAsStmt.GetObjtype() == pg.ObjectType_OBJECT_MATVIEW {
			kind = "materialized view"
		}
		s.creates(Object{Kind: kind, Name: Relation(n.CreateTableAsStmt.GetInto().GetRel())})
		s.reads(n.CreateTableAsStmt.GetQuery())
	case *pg.Node_ViewStmt:
		view := Object{Kind: "view", Name: Relation(n.ViewStmt.GetView())}
		if n.ViewStmt.GetReplace() {
			s.lock(view.Name, "AccessExclusiveLock")
		}
		s.creates(view)
		s.reads(n.ViewStmt.GetQuery())
	case *pg.Node_IndexStmt:
		s.createIndex(n.IndexStmt)
	case *pg.Node_CreateTrigStmt:
		table := Relation(n.CreateTrigStmt.GetRelation())
		s.creates(Object{Kind: "trigger", Name: table, Part: n.CreateTrigStmt.GetTrigname()})
		s.lock(table, "ShareRowExclusiveLock")
		if other := n.CreateTrigStmt.GetConstrrel(); other != nil {
			s.lock(Relation(other), "AccessShareLock")
		}
	case *pg.Node_RuleStmt:
		table := Relation(n.RuleStmt.GetRelation())
		rule := Object{Kind: "rule", Name: table, Part: n.RuleStmt.GetRulename()}
		if n.RuleStmt.GetInstead() {
			s.add(Contract, "creates "+rule.String()+", which does something else instead of what old code asks for", relations(table)...)
			s.make(rule)
		} else {
			s.creates(rule)
		}
		s.lock(table, "AccessExclusiveLock")
	case *pg.Node_CreatePolicyStmt:
		table := Relation(n.CreatePolicyStmt.GetTable())
		policy := Object{Kind: "policy", Name: table, Part: n.CreatePolicyStmt.GetPolicyName()}
		if n.CreatePolicyStmt.GetPermissive() {
			s.creates(policy)
		} else {
			s.add(Contract, "creates restrictive "+policy.String(), relations(table)...)
			s.make(policy)
		}
		s.lock(table, "AccessExclusiveLock")
	case *pg.Node_CreateStatsStmt:
		s.creates(Object{Kind: "statistics", Name: listed(n.CreateStatsStmt.GetDefnames())})
		for _, r := range n.CreateStatsStmt.GetRelations() {
			s.lock(Relation(r.GetRangeVar()), "ShareUpdateExclusiveLock")
		}
	case *pg.Node_CreateSchemaStmt:
		schema := n.CreateSchemaStmt.GetSchemaname()
		if schema == "" {
			schema = roleName(n.CreateSchemaStmt.GetAuthrole()).Name
		}
		s.creates(Object{Kind: "schema", Name: Name{Name: schema}})
		for _, e := range n.CreateSchemaStmt.GetSchemaElts() {
			s.lookAt(e)
		}
	case *pg.Node_CreatePublicationStmt:
		s.creates(Object{Kind: "publication", Name: Name{Name: n.CreatePublicationStmt.GetPubname()}})
		for _, o := range n.CreatePublicationStmt.GetPubobjects() {
			if t := o.GetPublicationObjSpec().GetPubtable().GetRelation(); t != nil {
				s.lock(Relation(t), "ShareUpdateExclusiveLock")
			}
		}
	case *pg.Node_ImportForeignSchemaStmt:
		s.add(Expand, "creates foreign tables in schema "+n.ImportForeignSchemaStmt.GetLocalSchema())
	default:
		made, ok := simple(tree)
		if !ok {
			return false
		}
		s.creates(made)
	}
	return true
}

// simple are the commands that make one object and touch no table.
func simple(tree *pg.Node) (Object, bool) {
	plain := func(kind, name string) (Object, bool) { return Object{Kind: kind, Name: Name{Name: name}}, true }
	list := func(kind string, name []*pg.Node) (Object, bool) { return Object{Kind: kind, Name: listed(name)}, true }
	switch n := tree.GetNode().(type) {
	case *pg.Node_CreateSeqStmt:
		return Object{Kind: "sequence", Name: Relation(n.CreateSeqStmt.GetSequence())}, true
	case *pg.Node_CompositeTypeStmt:
		return Object{Kind: "type", Name: Relation(n.CompositeTypeStmt.GetTypevar())}, true
	case *pg.Node_CreateEnumStmt:
		return list("type", n.CreateEnumStmt.GetTypeName())
	case *pg.Node_CreateRangeStmt:
		return list("type", n.CreateRangeStmt.GetTypeName())
	case *pg.Node_CreateDomainStmt:
		return list("domain", n.CreateDomainStmt.GetDomainname())
	case *pg.Node_DefineStmt:
		return list(kindOf(n.DefineStmt.GetKind()), n.DefineStmt.GetDefnames())
	case *pg.Node_CreateFunctionStmt:
		if n.CreateFunctionStmt.GetIsProcedure() {
			return list("procedure", n.CreateFunctionStmt.GetFuncname())
		}
		return list("function", n.CreateFunctionStmt.GetFuncname())
	case *pg.Node_CreateExtensionStmt:
		return plain("extension", n.CreateExtensionStmt.GetExtname())
	case *pg.Node_CreateEventTrigStmt:
		return plain("event trigger", n.CreateEventTrigStmt.GetTrigname())
	case *pg.Node_CreatedbStmt:
		return plain("database", n.CreatedbStmt.GetDbname())
	case *pg.Node_CreateRoleStmt:
		return plain("role", n.CreateRoleStmt.GetRole())
	case *pg.Node_CreateTableSpaceStmt:
		return plain("tablespace", n.CreateTableSpaceStmt.GetTablespacename())
	case *pg.Node_CreateSubscriptionStmt:
		return plain("subscription", n.CreateSubscriptionStmt.GetSubname())
	case *pg.Node_CreateFdwStmt:
		return plain("foreign data wrapper", n.CreateFdwStmt.GetFdwname())
	case *pg.Node_CreateForeignServerStmt:
		return plain("server", n.CreateForeignServerStmt.GetServername())
	case *pg.Node_CreateUserMappingStmt:
		return plain("user mapping", n.CreateUserMappingStmt.GetServername())
	case *pg.Node_CreatePlangStmt:
		return plain("language", n.CreatePlangStmt.GetPlname())
	case *pg.Node_CreateAmStmt:
		return plain("access method", n.CreateAmStmt.GetAmname())
	case *pg.Node_CreateOpClassStmt:
		return list("operator class", n.CreateOpClassStmt.GetOpclassname())
	case *pg.Node_CreateOpFamilyStmt:
		return list("operator family", n.CreateOpFamilyStmt.GetOpfamilyname())
	case *pg.Node_CreateConversionStmt:
		return list("conversion", n.CreateConversionStmt.GetConversionName())
	case *pg.Node_CreateTransformStmt:
		return list("transform", n.CreateTransformStmt.GetTypeName().GetNames())
	case *pg.Node_CreateCastStmt:
		return list("cast", n.CreateCastStmt.GetSourcetype().GetNames())
	}
	return Object{}, false
}

// creates is a step that only adds.
func (s *Statement) creates(o Object) {
	s.add(Expand, "creates "+o.String())
	s.make(o)
}

func (s *Statement) createTable(n *pg.CreateStmt, kind string) {
	table := Relation(n.GetRelation())
	s.creates(Object{Kind: kind, Name: table})
	mode := "ShareUpdateExclusiveLock" // INHERITS
	if n.GetPartbound() != nil {
		mode = "AccessExclusiveLock" // "requires taking an ACCESS EXCLUSIVE lock on the parent table" (CREATE TABLE, PARTITION OF)
	}
	for _, parent := range n.GetInhRelations() {
		s.lock(Relation(parent.GetRangeVar()), mode)
	}
	for _, c := range constraints(n) {
		if c.GetPktable() != nil {
			s.lock(Relation(c.GetPktable()), "ShareRowExclusiveLock")
		}
	}
	for _, e := range n.GetTableElts() {
		if like := e.GetTableLikeClause(); like != nil {
			s.lock(Relation(like.GetRelation()), "AccessShareLock")
		}
	}
}

// constraints are those of a table's columns and its own.
func constraints(n *pg.CreateStmt) []*pg.Constraint {
	var list []*pg.Constraint
	for _, e := range n.GetTableElts() {
		if c := e.GetConstraint(); c != nil {
			list = append(list, c)
		}
		for _, c := range e.GetColumnDef().GetConstraints() {
			list = append(list, c.GetConstraint())
		}
	}
	return list
}

func (s *Statement) createIndex(n *pg.IndexStmt) {
	table := Relation(n.GetRelation())
	mode := "ShareLock"
	if n.GetConcurrent() {
		mode = "ShareUpdateExclusiveLock"
	}
	s.lock(table, mode)
	name := n.GetIdxname()
	if name != "" {
		s.make(Object{Kind: "index", Name: Name{Schema: table.Schema, Name: name}})
	}
	if !n.GetUnique() {
		s.add(Expand, "creates an index of "+table.String())
		return
	}
	columns := indexColumns(n)
	s.steps = append(s.steps, step{
		class: Contract, why: "makes (" + strings.Join(columns, ", ") + ") of " + table.String() + " unique", on: relations(table),
		plainly: func(k *known) bool {
			return !n.GetNullsNotDistinct() && slices.ContainsFunc(columns, func(c string) bool { return k.nullable(table, c) })
		},
	})
}

// indexColumns are the columns that an index has, expressions left out.
func indexColumns(n *pg.IndexStmt) []string {
	var list []string
	for _, p := range n.GetIndexParams() {
		if name := p.GetIndexElem().GetName(); name != "" {
			list = append(list, name)
		}
	}
	return list
}

// certain says whether what the statement makes certainly was not there before.
func (s *Statement) certain(made int) bool {
	switch n := s.tree.GetNode().(type) {
	case *pg.Node_CreateStmt:
		return !n.CreateStmt.GetIfNotExists()
	case *pg.Node_CreateForeignTableStmt:
		return !n.CreateForeignTableStmt.GetBaseStmt().GetIfNotExists()
	case *pg.Node_CreateTableAsStmt:
		return !n.CreateTableAsStmt.GetIfNotExists()
	case *pg.Node_ViewStmt:
		return !n.ViewStmt.GetReplace()
	case *pg.Node_CreateFunctionStmt:
		return !n.CreateFunctionStmt.GetReplace()
	case *pg.Node_CreateTrigStmt:
		return !n.CreateTrigStmt.GetReplace()
	case *pg.Node_RuleStmt:
		return !n.RuleStmt.GetReplace()
	case *pg.Node_DefineStmt:
		return !n.DefineStmt.GetReplace() && !n.DefineStmt.GetIfNotExists()
	case *pg.Node_IndexStmt:
		return !n.IndexStmt.GetIfNotExists()
	case *pg.Node_CreateSchemaStmt:
		return !n.CreateSchemaStmt.GetIfNotExists()
	case *pg.Node_CreateSeqStmt:
		return !n.CreateSeqStmt.GetIfNotExists()
	case *pg.Node_CreateExtensionStmt:
		return !n.CreateExtensionStmt.GetIfNotExists()
	case *pg.Node_AlterTableStmt:
		return !s.optional(made)
	case *pg.Node_RenameStmt, *pg.Node_AlterObjectSchemaStmt:
		return s.known.any(s.gone) // as new as what had the old name
	case *pg.Node_DoStmt:
		return false
	}
	return true
}
