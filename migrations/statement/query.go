package statement

import (
	"strings"

	pg "github.com/pganalyze/pg_query_go/v6"
	"google.golang.org/protobuf/proto"
)

// query is SELECT, INSERT, UPDATE, DELETE or MERGE.
func (s *Statement) query(tree *pg.Node) {
	if n := tree.GetSelectStmt(); n.GetIntoClause() != nil {
		s.creates(Object{Kind: "table", Name: Relation(n.GetIntoClause().GetRel())})
	}
	writes := writes(tree)
	for _, w := range writes {
		s.add(Backfill, w.verb+" "+w.table.String(), relations(w.table)...)
		s.lock(w.table, "RowExclusiveLock")
	}
	s.reads(tree)
	if len(writes) > 0 {
		return // that it changes rows is known, whatever functions it calls
	}
	for _, f := range Calls(message(tree)) {
		switch {
		case VolatilityOf(f) == Unknown:
			s.obscure("calls function " + f.String() + ", which is not looked into")
		case f.Name == "setval":
			s.add(Backfill, "sets a sequence")
		case strings.HasPrefix(f.Name, "lo_"):
			s.add(Backfill, "uses large objects")
		}
	}
}

// reads are the locks of a query on the tables that it only reads.
func (s *Statement) reads(tree *pg.Node) {
	mode := "AccessShareLock"
	Walk(tree, func(m proto.Message) bool {
		if n, ok := m.(*pg.SelectStmt); ok && len(n.GetLockingClause()) > 0 {
			mode = "RowShareLock"
		}
		return true
	})
	for _, table := range mentioned(tree) {
		s.lock(table, mode)
	}
}

// write is one change of rows.
type write struct {
	verb  string
	table Name
}

// writes are the changes of rows in a query and its WITH.
func writes(tree *pg.Node) []write {
	var list []write
	Walk(tree, func(m proto.Message) bool {
		switch n := m.(type) {
		case *pg.InsertStmt:
			list = append(list, write{"inserts into", Relation(n.GetRelation())})
		case *pg.UpdateStmt:
			list = append(list, write{"updates", Relation(n.GetRelation())})
		case *pg.DeleteStmt:
			list = append(list, write{"deletes from", Relation(n.GetRelation())})
		case *pg.MergeStmt:
			list = append(list, write{"merges into", Relation(n.GetRelation())})
		}
		return true
	})
	return list
}

func (s *Statement) copy(n *pg.CopyStmt) {
	if n.GetRelation() == nil {
		s.query(n.GetQuery())
		return
	}
	table := Relation(n.GetRelation())
	if n.GetIsFrom() {
		s.add(Backfill, "copies into "+table.String(), relations(table)...)
		s.lock(table, "RowExclusiveLock")
	} else {
		s.lock(table, "AccessShareLock")
	}
}

// Writes are the tables that the statement inserts into, updates, deletes from, merges or copies into, also within WITH and
// EXPLAIN, each once.
func (s *Statement) Writes() []Name {
	var list []Name
	seen := map[Name]bool{}
	each := func(table Name) {
		if !seen[table] {
			seen[table] = true
			list = append(list, table)
		}
	}
	for _, w := range writes(s.tree) {
		each(w.table)
	}
	if c := s.tree.GetCopyStmt(); c.GetIsFrom() {
		each(Relation(c.GetRelation()))
	}
	for _, r := range s.tree.GetTruncateStmt().GetRelations() {
		each(Relation(r.GetRangeVar()))
	}
	for _, i := range s.inner {
		for _, table := range i.Writes() {
			each(table)
		}
	}
	return list
}

// Insertion is one way in which a statement adds rows to a table.
type Insertion struct {
	Into    Name
	Columns []string // nil where no list is written, so that all are meant
}

// Inserts are the INSERTs of the statement, also those within WITH, those of a MERGE, and COPY FROM.
func (s *Statement) Inserts() []Insertion {
	var list []Insertion
	Walk(s.tree, func(m proto.Message) bool {
		switch n := m.(type) {
		case *pg.InsertStmt:
			list = append(list, Insertion{Relation(n.GetRelation()), targets(n.GetCols())})
		case *pg.MergeStmt:
			for _, w := range n.GetMergeWhenClauses() {
				if c := w.GetMergeWhenClause(); c.GetCommandType() == pg.CmdType_CMD_INSERT {
					list = append(list, Insertion{Relation(n.GetRelation()), targets(c.GetTargetList())})
				}
			}
		case *pg.CopyStmt:
			if n.GetIsFrom() {
				list = append(list, Insertion{Relation(n.GetRelation()), texts(n.GetAttlist())})
			}
		}
		return true
	})
	return list
}

// targets are the names of a list of columns to assign to.
func targets(nodes []*pg.Node) []string {
	var list []string
	for _, n := range nodes {
		list = append(list, n.GetResTarget().GetName())
	}
	return list
}
