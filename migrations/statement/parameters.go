package statement

import (
	"slices"

	pg "github.com/pganalyze/pg_query_go/v6"
	"google.golang.org/protobuf/proto"
)

// expression looks at the columns, parameters and queries in a part of a syntax tree.
func (u *usage) expression(root proto.Message, sc *scope) {
	Walk(root, func(m proto.Message) bool {
		switch n := m.(type) {
		case *pg.ColumnRef:
			u.useAll(sc.refer(n))
		case *pg.A_Indirection:
			return !u.field(n, sc)
		case *pg.SubLink:
			u.expression(n.GetTestexpr(), sc)
			u.query(n.GetSubselect(), sc)
			return false
		case *pg.SelectStmt:
			u.selects(n, sc)
			return false
		case *pg.A_Expr:
			u.compare(n, sc)
		}
		return true
	})
}

// field is (t).a, where t is an item of FROM: a column of it.
func (u *usage) field(n *pg.A_Indirection, sc *scope) bool {
	fields := n.GetArg().GetColumnRef().GetFields()
	if len(fields) != 1 || len(n.GetIndirection()) == 0 {
		return false
	}
	s, ok := sc.find(Name{Name: fields[0].GetString_().GetSval()})
	if !ok {
		return false
	}
	name := n.GetIndirection()[0].GetString_().GetSval()
	if name == "" {
		return false
	}
	columns, _ := s.column(name)
	u.useAll(withoutSystem(columns))
	return true
}

// comparisons are the operators that take a column and a value such as the column holds.
var comparisons = []string{"=", "<>", "!=", "<", ">", "<=", ">=", "~~", "!~~", "~~*", "!~~*", "~", "~*", "@>", "<@", "&&"}

// compare relates the parameters of a comparison to its columns.
func (u *usage) compare(n *pg.A_Expr, sc *scope) {
	left, right := n.GetLexpr(), n.GetRexpr()
	switch n.GetKind() {
	case pg.A_Expr_Kind_AEXPR_OP, pg.A_Expr_Kind_AEXPR_OP_ANY, pg.A_Expr_Kind_AEXPR_OP_ALL:
		if !slices.Contains(comparisons, listed(n.GetName()).Name) {
			return
		}
	case pg.A_Expr_Kind_AEXPR_NULLIF:
		return
	}
	a, b := left.GetRowExpr().GetArgs(), right.GetRowExpr().GetArgs()
	if len(a) > 0 && len(a) == len(b) { // (a, b) = ($1, $2)
		for i := range a {
			u.sides(a[i], b[i], sc)
		}
		return
	}
	others := []*pg.Node{right}
	if list := right.GetList(); list != nil { // IN, BETWEEN
		others = list.GetItems()
	}
	if array := right.GetAArrayExpr(); array != nil { // = ANY (ARRAY[…])
		others = array.GetElements()
	}
	for _, other := range others {
		if b := other.GetRowExpr().GetArgs(); len(a) > 0 && len(a) == len(b) { // (a, b) IN (($1, $2))
			for i := range a {
				u.sides(a[i], b[i], sc)
			}
			continue
		}
		u.sides(left, other, sc)
	}
}

// sides relates a parameter on one side to a column on the other.
func (u *usage) sides(left, right *pg.Node, sc *scope) {
	if ref := bareColumn(left); ref != nil {
		u.pair(sc.refer(ref), right)
	}
	if ref := bareColumn(right); ref != nil {
		u.pair(sc.refer(ref), left)
	}
}

// bareColumn is a column, whatever type it is cast to; lower(a) and upper(a), which people compare so as not to mind case,
// count as a.
func bareColumn(n *pg.Node) *pg.ColumnRef {
	switch v := n.GetNode().(type) {
	case *pg.Node_ColumnRef:
		return v.ColumnRef
	case *pg.Node_TypeCast:
		return bareColumn(v.TypeCast.GetArg())
	case *pg.Node_CollateClause:
		return bareColumn(v.CollateClause.GetArg())
	case *pg.Node_FuncCall:
		if caseless(v.FuncCall) {
			return bareColumn(v.FuncCall.GetArgs()[0])
		}
	}
	return nil
}

func caseless(f *pg.FuncCall) bool {
	name := listed(f.GetFuncname()).Name
	return (name == "lower" || name == "upper") && len(f.GetArgs()) == 1
}

// parameter is the number of a parameter, whatever type it is cast to; 0 for none.
func parameter(n *pg.Node) int {
	switch v := n.GetNode().(type) {
	case *pg.Node_ParamRef:
		return int(v.ParamRef.GetNumber())
	case *pg.Node_TypeCast:
		return parameter(v.TypeCast.GetArg())
	case *pg.Node_CollateClause:
		return parameter(v.CollateClause.GetArg())
	case *pg.Node_FuncCall:
		if caseless(v.FuncCall) {
			return parameter(v.FuncCall.GetArgs()[0])
		}
	case *pg.Node_CoalesceExpr:
		if args := v.CoalesceExpr.GetArgs(); len(args) > 0 {
			return parameter(args[0])
		}
	}
	return 0
}

// pair relates a parameter to columns, if the value is one.
func (u *usage) pair(columns []Column, value *pg.Node) {
	n := parameter(value)
	if n == 0 {
		return
	}
	for _, c := range columns {
		if c.Column != "*" && !slices.Contains(u.params[n], c) {
			u.params[n] = append(u.params[n], c)
		}
	}
}

// assign looks at SET.
func (u *usage) assign(table Name, list []*pg.Node, sc *scope) {
	for _, node := range list {
		t := node.GetResTarget()
		column := Column{table, t.GetName()}
		u.columns[column] = true
		value := t.GetVal()
		if m := value.GetMultiAssignRef(); m != nil { // SET (a, b) = (…): every column holds the whole right side
			if m.GetColno() == 1 {
				u.expression(m.GetSource(), sc)
			}
			args := m.GetSource().GetRowExpr().GetArgs()
			if i := int(m.GetColno()) - 1; i < len(args) {
				u.pair([]Column{column}, args[i])
			}
			continue
		}
		u.expression(value, sc)
		u.pair([]Column{column}, value)
	}
}

// insertParameters relates the parameters in VALUES or SELECT to the columns of an INSERT.
func (u *usage) insertParameters(into Name, columns []string, n *pg.SelectStmt) {
	row := func(values []*pg.Node) {
		for i, v := range values {
			if i < len(columns) {
				u.pair([]Column{{into, columns[i]}}, v)
			}
		}
	}
	for _, v := range n.GetValuesLists() {
		row(v.GetList().GetItems())
	}
	var values []*pg.Node
	for _, t := range n.GetTargetList() {
		values = append(values, t.GetResTarget().GetVal())
	}
	row(values)
}
