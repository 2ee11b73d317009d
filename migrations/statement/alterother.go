package statement

import (
	pg "github.com/pganalyze/pg_query_go/v6"
)

// alterOther are the commands that change or remove what is no table.
func (s *Statement) alterOther(tree *pg.Node) bool {
	switch n := tree.GetNode().(type) {
	case *pg.Node_AlterDomainStmt:
		s.alterDomain(n.AlterDomainStmt)
	case *pg.Node_AlterEnumStmt:
		s.alterEnum(n.AlterEnumStmt)
	case *pg.Node_AlterSeqStmt:
		sequence := Object{Kind: "sequence", Name: Relation(n.AlterSeqStmt.GetSequence())}
		for _, o := range n.AlterSeqStmt.GetOptions() {
			if o.GetDefElem().GetDefname() == "restart" {
				s.add(Backfill, "restarts "+sequence.String(), sequence)
			}
		}
	case *pg.Node_AlterPolicyStmt:
		table := Relation(n.AlterPolicyStmt.GetTable())
		s.add(Contract, "changes which rows of "+table.String()+" are seen: policy "+n.AlterPolicyStmt.GetPolicyName(), relations(table)...)
		s.lock(table, "AccessExclusiveLock")
	case *pg.Node_AlterPublicationStmt:
		if n.AlterPublicationStmt.GetAction() != pg.AlterPublicationAction_AP_AddObjects {
			s.add(Contract, "changes publication "+n.AlterPublicationStmt.GetPubname())
		}
	case *pg.Node_AlterTsconfigurationStmt:
		name := listed(n.AlterTsconfigurationStmt.GetCfgname())
		s.add(Contract, "changes text search configuration "+name.String(), Object{Kind: "text search configuration", Name: name})
	case *pg.Node_AlterTsdictionaryStmt:
		name := listed(n.AlterTsdictionaryStmt.GetDictname())
		s.add(Contract, "changes text search dictionary "+name.String(), Object{Kind: "text search dictionary", Name: name})
	case *pg.Node_AlterExtensionContentsStmt, *pg.Node_AlterFunctionStmt, *pg.Node_AlterTypeStmt, *pg.Node_AlterOperatorStmt,
		*pg.Node_AlterStatsStmt, *pg.Node_AlterEventTrigStmt, *pg.Node_AlterSubscriptionStmt, *pg.Node_AlterObjectDependsStmt:
		// how something is stored, planned or watched
	case *pg.Node_DropdbStmt:
		s.drops("database", n.DropdbStmt.GetDbname())
	case *pg.Node_DropTableSpaceStmt:
		s.drops("tablespace", n.DropTableSpaceStmt.GetTablespacename())
	case *pg.Node_DropSubscriptionStmt:
		s.drops("subscription", n.DropSubscriptionStmt.GetSubname())
	case *pg.Node_DropUserMappingStmt:
		s.drops("user mapping", n.DropUserMappingStmt.GetServername())
	default:
		return false
	}
	return true
}

func (s *Statement) drops(kind, name string) {
	o := Object{Kind: kind, Name: Name{Name: name}}
	s.remove(o)
	s.add(Contract, "drops "+o.String(), o)
}

func (s *Statement) alterDomain(n *pg.AlterDomainStmt) {
	domain := Object{Kind: "domain", Name: listed(n.GetTypeName())}
	constraint := Object{Kind: "constraint", Name: domain.Name, Part: n.GetName()}
	switch n.GetSubtype() { // as src/include/nodes/parsenodes.h numbers them
	case "C":
		if constraint.Part = n.GetDef().GetConstraint().GetConname(); constraint.Part != "" {
			s.make(constraint)
		}
		s.add(Contract, "adds a constraint to "+domain.String(), domain)
	case "O":
		s.add(Contract, "makes "+domain.String()+" NOT NULL", domain)
	case "T":
		if n.GetDef() == nil {
			s.add(Contract, "drops the default of "+domain.String(), domain)
		} else {
			s.add(Expand, "changes the default of "+domain.String())
		}
	case "X":
		s.remove(constraint)
		s.add(Expand, "drops "+constraint.String())
	case "N":
		s.add(Expand, "lets "+domain.String()+" be null, which old code may not expect when it reads")
	}
}

func (s *Statement) alterEnum(n *pg.AlterEnumStmt) {
	label := Object{Kind: "label", Name: listed(n.GetTypeName()), Part: n.GetNewVal()}
	if n.GetOldVal() == "" {
		s.add(Expand, "adds "+label.String()+", which old code may not expect when it reads")
		s.make(label)
		return
	}
	old := label
	old.Part = n.GetOldVal()
	s.add(Contract, "renames "+old.String()+" to "+n.GetNewVal(), Object{Kind: "type", Name: label.Name})
	s.remove(old)
	s.make(label)
}
