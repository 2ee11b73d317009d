package statement

import (
	"slices"

	pg "github.com/pganalyze/pg_query_go/v6"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// message is what a node of a syntax tree holds.
func message(n *pg.Node) proto.Message {
	if n == nil || n.GetNode() == nil {
		return nil
	}
	m := n.ProtoReflect()
	return m.Get(m.WhichOneof(m.Descriptor().Oneofs().Get(0))).Message().Interface()
}

// Walk visits a part of a syntax tree and all that it holds, in the order of the grammar, without what visit answers
// false for. The Nodes that only wrap others are not visited.
func Walk(root proto.Message, visit func(proto.Message) bool) {
	if root == nil || !root.ProtoReflect().IsValid() {
		return
	}
	if n, ok := root.(*pg.Node); ok {
		Walk(message(n), visit)
		return
	}
	if visit(root) {
		children(root, func(m proto.Message) { Walk(m, visit) })
	}
}

// children are the messages that a message holds, in the order of its fields.
func children(root proto.Message, each func(proto.Message)) {
	m := root.ProtoReflect()
	fields := m.Descriptor().Fields()
	for i := range fields.Len() {
		fd := fields.Get(i)
		if fd.Kind() != protoreflect.MessageKind || !m.Has(fd) {
			continue
		}
		if !fd.IsList() {
			each(m.Get(fd).Message().Interface())
			continue
		}
		list := m.Get(fd).List()
		for j := range list.Len() {
			each(list.Get(j).Message().Interface())
		}
	}
}

// mentioned are the relations that a part of a syntax tree names, without those that WITH defines.
func mentioned(root proto.Message) []Name {
	var list []Name
	withs := map[string]bool{}
	Walk(root, func(m proto.Message) bool {
		if cte, ok := m.(*pg.CommonTableExpr); ok {
			withs[cte.GetCtename()] = true
		}
		return true
	})
	Walk(root, func(m proto.Message) bool {
		switch n := m.(type) {
		case *pg.RangeVar:
			if name := Relation(n); name.Schema != "" || !withs[name.Name] {
				list = append(list, name)
			}
		case *pg.CreateSeqStmt, *pg.AlterSeqStmt, *pg.CompositeTypeStmt:
			return false // their RangeVars are no tables
		case *pg.AlterTableStmt:
			return hasRows(n.GetObjtype())
		case *pg.RenameStmt:
			return hasRows(n.GetRenameType()) || hasRows(n.GetRelationType())
		case *pg.AlterObjectSchemaStmt:
			return hasRows(n.GetObjectType())
		case *pg.AlterOwnerStmt:
			return hasRows(n.GetObjectType())
		}
		return true
	})
	return list
}

// hasRows says whether a query can name such an object in FROM.
func hasRows(t pg.ObjectType) bool {
	return t == pg.ObjectType_OBJECT_TABLE || t == pg.ObjectType_OBJECT_VIEW || t == pg.ObjectType_OBJECT_MATVIEW || t == pg.ObjectType_OBJECT_FOREIGN_TABLE
}

// relations are the tables and views that the statement names.
func (s *Statement) relations() []Name {
	list := append(mentioned(s.tree), commented(s.tree)...)
	for _, o := range s.gone {
		if slices.Contains([]string{"table", "view", "materialized view", "foreign table", "trigger", "policy", "rule"}, o.Kind) {
			list = append(list, o.Name)
		}
	}
	for _, i := range s.inner {
		list = append(list, i.relations()...)
	}
	return list
}

// commented is the table or view of a COMMENT.
func commented(tree *pg.Node) []Name {
	c := tree.GetCommentStmt()
	switch parts := c.GetObject().GetList().GetItems(); {
	case hasRows(c.GetObjtype()):
		return []Name{named(c.GetObject())}
	case c.GetObjtype() == pg.ObjectType_OBJECT_COLUMN && len(parts) > 1:
		return []Name{listed(parts[:len(parts)-1])}
	}
	return nil
}
