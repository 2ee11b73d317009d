package statement

import (
	"cmp"
	"slices"

	pg "github.com/pganalyze/pg_query_go/v6"
	"google.golang.org/protobuf/proto"
)

// usage is what a statement uses.
type usage struct {
	columns map[Column]bool
	params  map[int][]Column
	limits  map[int]bool
}

// use looks at the queries of the statement; the statement itself keeps nothing of it, for most are never asked.
func (s *Statement) use() *usage {
	u := &usage{columns: map[Column]bool{}, params: map[int][]Column{}, limits: map[int]bool{}}
	u.statement(s.tree)
	for _, i := range s.inner {
		inner := i.use()
		for c := range inner.columns {
			u.columns[c] = true
		}
	}
	return u
}

// Uses are the columns that the statement's queries name, aliases resolved, sorted. Column "*" is SELECT *, RETURNING *,
// t.*, a whole row, NATURAL JOIN, and INSERT or COPY without a list of columns. A column without a qualifier that may belong
// to several tables is listed with each of them. Definitions (CREATE TABLE, ALTER TABLE) are no queries; views are.
func (s *Statement) Uses() []Column {
	var list []Column
	for c := range s.use().columns {
		list = append(list, c)
	}
	slices.SortFunc(list, func(a, b Column) int {
		return cmp.Or(compareNames(a.Table, b.Table), cmp.Compare(a.Column, b.Column))
	})
	return list
}

// Parameters are the columns that $1, $2, … are compared with or assigned to: in WHERE a = $1, a IN ($1, $2), a = ANY ($1)
// (an array of them), a BETWEEN, LIKE, SET a = $1, VALUES ($1) with a list of columns. Several columns are candidates, of
// which one is meant (see Uses), or a parameter that is used several times.
func (s *Statement) Parameters() map[int][]Column { return s.use().params }

// Limits are the parameters that count rows, in LIMIT and OFFSET, sorted.
func (s *Statement) Limits() []int {
	var list []int
	for n := range s.use().limits {
		list = append(list, n)
	}
	slices.Sort(list)
	return list
}

// statement looks at a statement that is a query or holds one.
func (u *usage) statement(tree *pg.Node) {
	outer := &scope{}
	switch n := tree.GetNode().(type) {
	case *pg.Node_ViewStmt:
		u.query(n.ViewStmt.GetQuery(), outer)
	case *pg.Node_CreateTableAsStmt:
		u.query(n.CreateTableAsStmt.GetQuery(), outer)
	case *pg.Node_ExplainStmt:
		u.statement(n.ExplainStmt.GetQuery())
	case *pg.Node_PrepareStmt:
		u.query(n.PrepareStmt.GetQuery(), outer)
	case *pg.Node_DeclareCursorStmt:
		u.query(n.DeclareCursorStmt.GetQuery(), outer)
	case *pg.Node_CopyStmt:
		if n.CopyStmt.GetRelation() == nil {
			u.query(n.CopyStmt.GetQuery(), outer)
			return
		}
		u.listed(Relation(n.CopyStmt.GetRelation()), texts(n.CopyStmt.GetAttlist()))
	case *pg.Node_CallStmt:
		u.expression(n.CallStmt.GetFunccall(), outer)
	default:
		u.query(tree, outer)
	}
}

// listed uses columns by name, or all where no list is written.
func (u *usage) listed(table Name, columns []string) {
	if len(columns) == 0 {
		columns = []string{"*"}
	}
	for _, c := range columns {
		u.columns[Column{table, c}] = true
	}
}

// query looks at a SELECT, INSERT, UPDATE, DELETE or MERGE and answers its columns.
func (u *usage) query(tree *pg.Node, outer *scope) outputs {
	switch n := tree.GetNode().(type) {
	case *pg.Node_SelectStmt:
		return u.selects(n.SelectStmt, outer)
	case *pg.Node_InsertStmt:
		return u.insert(n.InsertStmt, outer)
	case *pg.Node_UpdateStmt:
		sc := &scope{parent: outer}
		u.with(n.UpdateStmt.GetWithClause(), sc)
		target := u.target(n.UpdateStmt.GetRelation(), sc)
		u.fromAll(n.UpdateStmt.GetFromClause(), sc)
		u.assign(target, n.UpdateStmt.GetTargetList(), sc)
		u.expression(n.UpdateStmt.GetWhereClause(), sc)
		return u.returning(n.UpdateStmt.GetReturningList(), sc.returned(target))
	case *pg.Node_DeleteStmt:
		sc := &scope{parent: outer}
		u.with(n.DeleteStmt.GetWithClause(), sc)
		target := u.target(n.DeleteStmt.GetRelation(), sc)
		u.fromAll(n.DeleteStmt.GetUsingClause(), sc)
		u.expression(n.DeleteStmt.GetWhereClause(), sc)
		return u.returning(n.DeleteStmt.GetReturningList(), sc.returned(target))
	case *pg.Node_MergeStmt:
		return u.merge(n.MergeStmt, outer)
	}
	return outputs{}
}

// with looks at the queries of a WITH. One that is recursive sees itself as what its first part answers.
func (u *usage) with(w *pg.WithClause, sc *scope) {
	sc.with = map[string]outputs{}
	for _, node := range w.GetCtes() {
		cte := node.GetCommonTableExpr()
		names := texts(cte.GetAliascolnames())
		if union := cte.GetCtequery().GetSelectStmt(); w.GetRecursive() && union.GetLarg() != nil {
			first := u.selects(union.GetLarg(), &scope{parent: sc})
			sc.with[cte.GetCtename()] = first.renamed(names)
		}
		sc.with[cte.GetCtename()] = u.query(cte.GetCtequery(), &scope{parent: sc}).renamed(names)
	}
}

func (u *usage) selects(n *pg.SelectStmt, outer *scope) outputs {
	sc := &scope{parent: outer}
	u.with(n.GetWithClause(), sc)
	var out outputs
	if n.GetLarg() != nil {
		out = u.selects(n.GetLarg(), sc)
		other := u.selects(n.GetRarg(), sc)
		out.tables = append(slices.Clone(out.tables), other.tables...)
	} else {
		u.fromAll(n.GetFromClause(), sc)
		out = u.returning(n.GetTargetList(), sc)
		for _, row := range n.GetValuesLists() {
			u.expression(row, sc)
		}
		out.number(n.GetValuesLists())
	}
	for _, part := range [][]*pg.Node{n.GetDistinctClause(), n.GetGroupClause(), n.GetWindowClause(), {n.GetWhereClause(), n.GetHavingClause()}} {
		for _, e := range part {
			u.expression(e, sc)
		}
	}
	for _, sort := range n.GetSortClause() {
		key := sort.GetSortBy().GetNode()
		if f := key.GetColumnRef().GetFields(); len(f) == 1 {
			if _, output := out.origin[f[0].GetString_().GetSval()]; output {
				continue // ORDER BY prefers a name of the output
			}
		}
		u.expression(key, sc)
	}
	for _, e := range []*pg.Node{n.GetLimitCount(), n.GetLimitOffset()} {
		u.expression(e, sc)
		Walk(e, func(m proto.Message) bool {
			if p, ok := m.(*pg.ParamRef); ok {
				u.limits[int(p.GetNumber())] = true
			}
			return true
		})
	}
	return out
}

// number names the columns of VALUES.
func (o *outputs) number(rows []*pg.Node) {
	if len(rows) == 0 {
		return
	}
	for range rows[0].GetList().GetItems() {
		o.order = append(o.order, "")
	}
}

// returning looks at what a query answers.
func (u *usage) returning(list []*pg.Node, sc *scope) outputs {
	out := outputs{origin: map[string][]Column{}, order: []string{}}
	for _, node := range list {
		t := node.GetResTarget()
		u.expression(t.GetVal(), sc)
		if f := t.GetVal().GetColumnRef().GetFields(); len(f) > 0 && f[len(f)-1].GetAStar() != nil {
			out.order = nil
			out.pass(f, sc)
			continue
		}
		name := t.GetName()
		if name == "" {
			name = outputName(t.GetVal())
		}
		var origin []Column
		if ref := bareColumn(t.GetVal()); ref != nil {
			origin = sc.refer(ref)
		}
		if out.order != nil {
			out.order = append(out.order, name)
		}
		if name != "" {
			out.origin[name] = origin
		}
	}
	return out
}

// pass lets the columns of a star through.
func (o *outputs) pass(fields []*pg.Node, sc *scope) {
	sources := sc.sources
	if len(fields) > 1 {
		s, _ := sc.find(listed(fields[:len(fields)-1]))
		sources = []source{s}
	}
	for _, s := range sources {
		o.tables = append(o.tables, s.tables...)
		for name, origin := range s.columns.origin {
			o.origin[name] = origin
		}
	}
}

// outputName is the name that PostgreSQL gives a column of the output (FigureColname in src/backend/parser/parse_target.c),
// as far as one can refer to it in earnest.
func outputName(n *pg.Node) string {
	switch v := n.GetNode().(type) {
	case *pg.Node_ColumnRef:
		if f := v.ColumnRef.GetFields(); len(f) > 0 {
			return f[len(f)-1].GetString_().GetSval()
		}
	case *pg.Node_FuncCall:
		return listed(v.FuncCall.GetFuncname()).Name
	case *pg.Node_TypeCast:
		if name := outputName(v.TypeCast.GetArg()); name != "" {
			return name
		}
		return listed(v.TypeCast.GetTypeName().GetNames()).Name
	case *pg.Node_CollateClause:
		return outputName(v.CollateClause.GetArg())
	case *pg.Node_CoalesceExpr:
		return "coalesce"
	case *pg.Node_CaseExpr:
		if name := outputName(v.CaseExpr.GetDefresult()); name != "" {
			return name
		}
		return "case"
	case *pg.Node_SubLink:
		if list := v.SubLink.GetSubselect().GetSelectStmt().GetTargetList(); v.SubLink.GetSubLinkType() == pg.SubLinkType_EXPR_SUBLINK && len(list) == 1 {
			if name := list[0].GetResTarget().GetName(); name != "" {
				return name
			}
			return outputName(list[0].GetResTarget().GetVal())
		}
	}
	return ""
}
