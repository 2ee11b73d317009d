package statement

import (
	pg "github.com/pganalyze/pg_query_go/v6"
)

// quiet are the kinds that no query names: to drop, rename or move one changes no answer.
func quiet(t pg.ObjectType, dropping bool) bool {
	switch t {
	case pg.ObjectType_OBJECT_INDEX, pg.ObjectType_OBJECT_STATISTIC_EXT, pg.ObjectType_OBJECT_EVENT_TRIGGER:
		return true
	case pg.ObjectType_OBJECT_TRIGGER, pg.ObjectType_OBJECT_POLICY, pg.ObjectType_OBJECT_RULE:
		return !dropping
	}
	return false
}

func (s *Statement) drop(n *pg.DropStmt) {
	kind := kindOf(n.GetRemoveType())
	for _, o := range n.GetObjects() {
		object := Object{Kind: kind, Name: named(o)}
		switch n.GetRemoveType() {
		case pg.ObjectType_OBJECT_TRIGGER, pg.ObjectType_OBJECT_POLICY, pg.ObjectType_OBJECT_RULE:
			object = partOf(kind, o.GetList().GetItems())
			s.lock(object.Name, "AccessExclusiveLock")
		case pg.ObjectType_OBJECT_TABLE, pg.ObjectType_OBJECT_VIEW, pg.ObjectType_OBJECT_MATVIEW, pg.ObjectType_OBJECT_FOREIGN_TABLE:
			s.lock(object.Name, "AccessExclusiveLock")
		case pg.ObjectType_OBJECT_INDEX: // and on its table, which is not in the statement
			mode := "AccessExclusiveLock"
			if n.GetConcurrent() {
				mode = "ShareUpdateExclusiveLock"
			}
			s.lock(object.Name, mode)
		}
		s.remove(object)
		class, why := Contract, "drops "+object.String()
		if quiet(n.GetRemoveType(), true) {
			class = Neutral
		}
		if n.GetBehavior() == pg.DropBehavior_DROP_CASCADE {
			class, why = Contract, why+" and all that depends on it"
		}
		on := []Object{object}
		if object.Part != "" {
			on = append(on, relations(object.Name)...)
		}
		s.add(class, why, on...)
	}
}

// partOf is an object that a syntax tree names after its table: schema, table, name.
func partOf(kind string, nodes []*pg.Node) Object {
	parts := texts(nodes)
	if len(parts) < 2 {
		return Object{Kind: kind}
	}
	return Object{Kind: kind, Name: listed(nodes[:len(parts)-1]), Part: parts[len(parts)-1]}
}

func (s *Statement) rename(n *pg.RenameStmt) {
	was, is := s.renaming(n)
	s.remove(was)
	s.make(is)
	name := is.Name.Name
	if is.Part != "" {
		name = is.Part
	}
	class := Contract
	if quiet(n.GetRenameType(), false) {
		class = Neutral
	}
	on := []Object{was}
	if was.Part != "" {
		on = append(on, relations(was.Name)...)
		on = append(on, Object{Kind: "type", Name: was.Name}, Object{Kind: "domain", Name: was.Name})
	}
	s.add(class, "renames "+was.String()+" to "+name, on...)
	if n.GetRelation() != nil && (hasRows(n.GetRenameType()) || hasRows(n.GetRelationType()) || was.Part != "" && n.GetRenameType() != pg.ObjectType_OBJECT_ATTRIBUTE) {
		s.lock(Relation(n.GetRelation()), "AccessExclusiveLock")
	}
}

// renaming is what a RENAME takes away and what it puts in its place.
func (s *Statement) renaming(n *pg.RenameStmt) (was, is Object) {
	kind := kindOf(n.GetRenameType())
	switch {
	case n.GetRelation() != nil && n.GetSubname() != "":
		was = Object{Kind: kind, Name: Relation(n.GetRelation()), Part: n.GetSubname()}
	case n.GetRelation() != nil:
		was = Object{Kind: kind, Name: Relation(n.GetRelation())}
	case n.GetRenameType() == pg.ObjectType_OBJECT_DOMCONSTRAINT:
		was = Object{Kind: kind, Name: named(n.GetObject()), Part: n.GetSubname()}
	case n.GetObject() != nil:
		was = Object{Kind: kind, Name: named(n.GetObject())}
	default: // schema, database, role, tablespace
		was = Object{Kind: kind, Name: Name{Name: n.GetSubname()}}
	}
	is = was
	if was.Part != "" {
		is.Part = n.GetNewname()
	} else {
		is.Name.Name = n.GetNewname()
	}
	return was, is
}

func (s *Statement) move(n *pg.AlterObjectSchemaStmt) {
	was := Object{Kind: kindOf(n.GetObjectType()), Name: named(n.GetObject())}
	if n.GetRelation() != nil {
		was.Name = Relation(n.GetRelation())
		if hasRows(n.GetObjectType()) {
			s.lock(was.Name, "AccessExclusiveLock")
		}
	}
	is := was
	if n.GetObjectType() != pg.ObjectType_OBJECT_EXTENSION {
		is.Name.Schema = n.GetNewschema()
		s.remove(was)
		s.make(is)
	}
	class := Contract
	if quiet(n.GetObjectType(), false) {
		class = Neutral
	}
	s.add(class, "moves "+was.String()+" to schema "+n.GetNewschema(), was)
}

func (s *Statement) own(n *pg.AlterOwnerStmt) {
	o := Object{Kind: kindOf(n.GetObjectType()), Name: named(n.GetObject())}
	if n.GetRelation() != nil {
		o.Name = Relation(n.GetRelation())
	}
	s.add(Contract, "gives "+o.String()+" to another owner", o)
}
