package statement

import (
	pg "github.com/pganalyze/pg_query_go/v6"
)

func (u *usage) fromAll(items []*pg.Node, sc *scope) {
	for _, item := range items {
		u.from(item, sc)
	}
}

// from adds an item of FROM to the scope.
func (u *usage) from(item *pg.Node, sc *scope) {
	switch n := item.GetNode().(type) {
	case *pg.Node_RangeVar:
		sc.sources = append(sc.sources, table(n.RangeVar, sc))
	case *pg.Node_RangeSubselect:
		around := sc.below()
		if n.RangeSubselect.GetLateral() {
			around = sc
		}
		out := u.query(n.RangeSubselect.GetSubquery(), around)
		alias := n.RangeSubselect.GetAlias()
		sc.sources = append(sc.sources, derived(alias.GetAliasname(), out.renamed(texts(alias.GetColnames()))))
	case *pg.Node_RangeFunction:
		for _, f := range n.RangeFunction.GetFunctions() {
			u.expression(f, sc)
		}
		sc.sources = append(sc.sources, function(n.RangeFunction))
	case *pg.Node_JoinExpr:
		u.join(n.JoinExpr, sc)
	case *pg.Node_RangeTableSample:
		u.from(n.RangeTableSample.GetRelation(), sc)
		for _, a := range n.RangeTableSample.GetArgs() {
			u.expression(a, sc)
		}
	case *pg.Node_RangeTableFunc:
		u.expression(n.RangeTableFunc.GetDocexpr(), sc)
		u.expression(n.RangeTableFunc.GetRowexpr(), sc)
		out := outputs{origin: map[string][]Column{}}
		for _, c := range n.RangeTableFunc.GetColumns() {
			out.origin[c.GetRangeTableFuncCol().GetColname()] = nil
		}
		sc.sources = append(sc.sources, derived(n.RangeTableFunc.GetAlias().GetAliasname(), out))
	case *pg.Node_JsonTable:
		u.expression(n.JsonTable.GetContextItem().GetRawExpr(), sc)
		out := outputs{origin: map[string][]Column{}}
		for _, c := range n.JsonTable.GetColumns() {
			out.origin[c.GetJsonTableColumn().GetName()] = nil
		}
		sc.sources = append(sc.sources, derived(n.JsonTable.GetAlias().GetAliasname(), out))
	}
}

// table is a table, or a query of WITH by its name.
func table(r *pg.RangeVar, sc *scope) source {
	name, alias := Relation(r), r.GetAlias()
	if out, ok := sc.query(name.Name); ok && name.Schema == "" {
		s := derived(name.Name, out.renamed(texts(alias.GetColnames())))
		if alias != nil {
			s.name.Name = alias.GetAliasname()
		}
		return s
	}
	s := source{name: name, tables: []Name{name}}
	if alias != nil {
		s.name = Name{Name: alias.GetAliasname()}
		s.columns = outputs{}.renamed(texts(alias.GetColnames()))
		for column := range s.columns.origin { // the table's first ones, whatever they are called
			s.columns.origin[column] = []Column{{name, "*"}}
		}
	}
	return s
}

// function is a function in FROM: a column named like its alias, or those that the alias lists.
func function(f *pg.RangeFunction) source {
	alias := f.GetAlias()
	name := alias.GetAliasname()
	if items := f.GetFunctions(); name == "" && len(items) > 0 {
		if call := items[0].GetList().GetItems(); len(call) > 0 {
			name = listed(call[0].GetFuncCall().GetFuncname()).Name
		}
	}
	out := outputs{}.renamed(texts(alias.GetColnames()))
	for _, d := range f.GetColdeflist() {
		out = outputs{}.renamed(append(out.order, d.GetColumnDef().GetColname()))
	}
	return derived(name, out)
}

func (u *usage) join(n *pg.JoinExpr, sc *scope) {
	start := len(sc.sources)
	u.from(n.GetLarg(), sc)
	u.from(n.GetRarg(), sc)
	both := &scope{parent: sc.parent, with: sc.with, sources: sc.sources[start:]}
	for _, name := range texts(n.GetUsingClause()) {
		for _, s := range both.sources {
			columns, _ := s.column(name)
			u.useAll(columns)
		}
	}
	if n.GetIsNatural() {
		u.useAll(stars(both.sources))
	}
	u.expression(n.GetQuals(), both)
	if alias := n.GetAlias(); alias != nil { // it hides what it joins
		out := outputs{origin: map[string][]Column{}}
		out.pass(nil, both)
		sc.sources = append(sc.sources[:start:start], derived(alias.GetAliasname(), out.renamed(texts(alias.GetColnames()))))
	}
}

func (u *usage) useAll(columns []Column) {
	for _, c := range columns {
		u.columns[c] = true
	}
}

// target is the table that is written.
func (u *usage) target(r *pg.RangeVar, sc *scope) Name {
	name := Relation(r)
	s := source{name: name, tables: []Name{name}}
	if alias := r.GetAlias(); alias != nil {
		s.name = Name{Name: alias.GetAliasname()}
	}
	sc.sources = append(sc.sources, s)
	return name
}

// rows is what a written table is called by other names: excluded in ON CONFLICT.
func rows(table Name, names ...string) []source {
	var list []source
	for _, n := range names {
		list = append(list, source{name: Name{Name: n}, tables: []Name{table}})
	}
	return list
}

func (u *usage) insert(n *pg.InsertStmt, outer *scope) outputs {
	around := &scope{parent: outer}
	u.with(n.GetWithClause(), around)
	into, columns := Relation(n.GetRelation()), targets(n.GetCols())
	if n.GetSelectStmt() != nil { // not DEFAULT VALUES
		u.listed(into, columns)
		u.query(n.GetSelectStmt(), around)
		u.insertParameters(into, columns, n.GetSelectStmt().GetSelectStmt())
	}
	sc := &scope{parent: around}
	u.target(n.GetRelation(), sc)
	if c := n.GetOnConflictClause(); c != nil {
		conflict := &scope{parent: around, sources: append(rows(into, "excluded"), sc.sources...)}
		for _, e := range c.GetInfer().GetIndexElems() {
			if name := e.GetIndexElem().GetName(); name != "" {
				u.columns[Column{into, name}] = true
			}
			u.expression(e.GetIndexElem().GetExpr(), sc)
		}
		u.expression(c.GetInfer().GetWhereClause(), sc)
		u.assign(into, c.GetTargetList(), conflict)
		u.expression(c.GetWhereClause(), conflict)
	}
	return u.returning(n.GetReturningList(), sc.returned(into))
}

func (u *usage) merge(n *pg.MergeStmt, outer *scope) outputs {
	sc := &scope{parent: outer}
	u.with(n.GetWithClause(), sc)
	into := u.target(n.GetRelation(), sc)
	u.from(n.GetSourceRelation(), sc)
	u.expression(n.GetJoinCondition(), sc)
	for _, node := range n.GetMergeWhenClauses() {
		w := node.GetMergeWhenClause()
		u.expression(w.GetCondition(), sc)
		if w.GetCommandType() != pg.CmdType_CMD_INSERT {
			u.assign(into, w.GetTargetList(), sc)
			continue
		}
		columns := targets(w.GetTargetList())
		if len(w.GetValues()) > 0 {
			u.listed(into, columns)
		}
		for i, v := range w.GetValues() {
			u.expression(v, sc)
			if i < len(columns) {
				u.pair([]Column{{into, columns[i]}}, v)
			}
		}
	}
	return u.returning(n.GetReturningList(), sc.returned(into))
}
