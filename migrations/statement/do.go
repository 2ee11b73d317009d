package statement

import (
	"encoding/json"
	"slices"
	"strings"

	pg "github.com/pganalyze/pg_query_go/v6"
	pgquery "github.com/wasilibs/go-pgquery"
)

// do looks into the body of a DO block: statements that are written out are classified like others, whatever conditions
// they are under. drizzle-kit writes "DO $$ BEGIN ALTER TABLE … EXCEPTION WHEN duplicate_object THEN null; END $$" for
// foreign keys and types.
func (s *Statement) do(n *pg.DoStmt) {
	body, offset, language := "", int32(0), "plpgsql"
	for _, a := range n.GetArgs() {
		switch d := a.GetDefElem(); d.GetDefname() {
		case "as":
			body, offset = d.GetArg().GetString_().GetSval(), d.GetLocation()
		case "language":
			language = d.GetArg().GetString_().GetSval()
		}
	}
	if language != "plpgsql" {
		s.obscure("runs code in " + language)
		return
	}
	found, err := plpgsql(s.sql, body)
	if err != nil {
		s.obscure("runs a block that is not understood")
		return
	}
	first := strings.Count(s.sql[:min(int(offset), len(s.sql))], "\n")
	for _, f := range found {
		if f.dynamic {
			s.obscure("runs a text that it puts together")
			continue
		}
		inner := read(f.sql, s.known)
		s.inner = append(s.inner, Inner{Statement: inner, Line: first + max(f.line-1, 0)})
		s.steps = append(s.steps, inner.steps...)
		s.locks = append(s.locks, inner.locks...)
		s.makes, s.gone = append(s.makes, inner.makes...), append(s.gone, inner.gone...)
		s.opaque = s.opaque || inner.opaque
	}
}

// embedded is SQL within PL/pgSQL.
type embedded struct {
	sql     string
	line    int  // of the body, from 1
	dynamic bool // the text is only known when it runs
}

// plpgsql are the statements of a DO block and the expressions that may do something: all of its SQL.
func plpgsql(block, body string) ([]embedded, error) {
	if len(body) > 2*maxNesting {
		if _, err := alone(func() (any, error) { return nil, nesting(body) }); err != nil { // each of its expressions is parsed
			return nil, err
		}
	}
	text, err := guarded(block, pgquery.ParsePlPgSqlToJSON)
	if err != nil {
		return nil, err
	}
	var tree any
	if err := json.Unmarshal([]byte(text), &tree); err != nil {
		return nil, err
	}
	var list []embedded
	collect(tree, 1, &list)
	slices.SortStableFunc(list, func(a, b embedded) int { return a.line - b.line })
	return list, nil
}

// collect finds the SQL in libpg_query's JSON of PL/pgSQL. Every piece of it is an object PLpgSQL_expr; parseMode says
// what the text is: 0 a statement, 2 an expression, 3 and more an assignment (RawParseMode in src/include/parser/parser.h).
func collect(tree any, line int, list *[]embedded) {
	switch t := tree.(type) {
	case []any:
		for _, e := range t {
			collect(e, line, list)
		}
	case map[string]any:
		if n, ok := t["lineno"].(float64); ok {
			line = int(n)
		}
		if dynamic, ok := t["PLpgSQL_stmt_dynexecute"].(map[string]any); ok {
			*list = append(*list, executed(dynamic, line))
			return
		}
		if e, ok := t["PLpgSQL_expr"].(map[string]any); ok {
			if query, ok := e["query"].(string); ok {
				*list = append(*list, embedded{sql: expression(query, e["parseMode"]), line: line})
			}
			return
		}
		keys := make([]string, 0, len(t))
		for k := range t {
			if k != "datums" { // defaults of variables are among them, and run
				keys = append(keys, k)
			}
		}
		slices.Sort(keys)
		if d, ok := t["datums"]; ok {
			collect(d, line, list)
		}
		for _, k := range keys {
			collect(t[k], line, list)
		}
	}
}

// expression is a statement that does what an expression or assignment does.
func expression(text string, mode any) string {
	switch m, _ := mode.(float64); {
	case m == 2:
		return "SELECT " + text
	case m >= 3:
		if _, value, ok := strings.Cut(text, "="); ok {
			return "SELECT " + value
		}
	}
	return text
}

// executed is what EXECUTE runs: a text that is written out, or unknown.
func executed(dynamic map[string]any, line int) embedded {
	if n, ok := dynamic["lineno"].(float64); ok {
		line = int(n)
	}
	query, _ := dynamic["query"].(map[string]any)
	e, _ := query["PLpgSQL_expr"].(map[string]any)
	text, _ := e["query"].(string)
	if result, err := parse("SELECT " + text); err == nil && len(result.GetStmts()) == 1 {
		list := result.GetStmts()[0].GetStmt().GetSelectStmt().GetTargetList()
		if len(list) == 1 {
			if c, ok := list[0].GetResTarget().GetVal().GetAConst().GetVal().(*pg.A_Const_Sval); ok {
				return embedded{sql: c.Sval.GetSval(), line: line}
			}
		}
	}
	return embedded{dynamic: true}
}
