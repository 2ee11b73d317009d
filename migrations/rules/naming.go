package rules

import (
	"slices"
	"strings"

	pg "github.com/pganalyze/pg_query_go/v6"
	"google.golang.org/protobuf/proto"

	"github.com/metaextract/pipeline/migrations/finding"
)

// names is about names that PostgreSQL cuts off. The parser has done so already: hence the text.
func (c *check) names() {
	st := c.script.Statements[c.index]
	var long []string
	for _, name := range slices.Concat(st.Quoted, st.Words) {
		if len(name) > maxName && !slices.Contains(long, name) {
			long = append(long, name)
		}
	}
	for _, name := range long {
		if slices.Contains(st.Words, name) {
			name = strings.ToLower(name)
		}
		c.warn("identifier-too-long", nil, int32(max(0, strings.Index(strings.ToLower(c.now.SQL()), strings.ToLower(name)))),
			name+" is longer than 63 bytes: PostgreSQL calls it "+truncated(name)+", and so may it call another one", "-- "+truncated(name))
	}
}

// duplicates is about a column that is assigned to or defined twice, which PostgreSQL refuses.
func (c *check) duplicates() {
	c.each(func(m proto.Message) {
		switch n := m.(type) {
		case *pg.InsertStmt:
			c.twice(assigned(n.GetCols()))
			c.twice(assigned(n.GetOnConflictClause().GetTargetList()))
		case *pg.UpdateStmt:
			c.twice(assigned(n.GetTargetList()))
		case *pg.MergeWhenClause:
			c.twice(assigned(n.GetTargetList()))
		case *pg.CreateStmt:
			var list []target
			for _, e := range n.GetTableElts() {
				if d := e.GetColumnDef(); d != nil {
					list = append(list, target{d.GetColname(), false, d.GetLocation()})
				}
			}
			c.twice(list)
		case *pg.ViewStmt:
			c.twice(outputs(namesIn(n.GetAliases()), n.GetQuery()))
		}
	})
}

// target is a column that is given a value or a definition.
type target struct {
	name string
	part bool // only an element or field of it
	at   int32
}

func assigned(nodes []*pg.Node) []target {
	var list []target
	for _, node := range nodes {
		if t := node.GetResTarget(); t.GetName() != "" {
			list = append(list, target{t.GetName(), len(t.GetIndirection()) > 0, t.GetLocation()})
		}
	}
	return list
}

// outputs are the names that a view's columns are given.
func outputs(aliases []string, query *pg.Node) []target {
	var list []target
	for _, name := range aliases {
		list = append(list, target{name: name})
	}
	if len(aliases) > 0 {
		return list
	}
	for _, node := range query.GetSelectStmt().GetTargetList() {
		t := node.GetResTarget()
		name := t.GetName()
		if fields := namesIn(t.GetVal().GetColumnRef().GetFields()); name == "" && len(fields) > 0 {
			name = fields[len(fields)-1]
		}
		if name != "" {
			list = append(list, target{name, false, t.GetLocation()})
		}
	}
	return list
}

func (c *check) twice(list []target) {
	for i, t := range list {
		for _, other := range list[:i] {
			if other.name == t.name && !(other.part && t.part) {
				c.hint(finding.Refuse, "ban-duplicate-column-assignments", nil, t.at, "Column "+t.name+" is named twice, which PostgreSQL refuses", "-- keep one of them")
			}
		}
	}
}
