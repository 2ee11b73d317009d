package statement

import (
	"slices"

	pg "github.com/pganalyze/pg_query_go/v6"
)

// source is one item of FROM as the rest of the query sees it.
type source struct {
	name    Name // by which columns are qualified; "" where it has none
	tables  []Name
	columns outputs
}

// outputs are the columns that a query has.
type outputs struct {
	order  []string            // "" for one without a name; nil where a star hides how many there are
	origin map[string][]Column // what columns of tables a name stands for; nil where it is computed
	tables []Name              // whose columns a star lets through under their names
}

// scope is what a name may mean in one query.
type scope struct {
	parent  *scope
	with    map[string]outputs
	sources []source
}

// below is the scope of a query within this one that does not see the items of FROM beside it.
func (sc *scope) below() *scope { return &scope{parent: sc.parent, with: sc.with} }

// returned is the scope of RETURNING, which from PostgreSQL 18 calls the written rows old and new too.
func (sc *scope) returned(table Name) *scope {
	return &scope{parent: &scope{parent: sc.parent, sources: rows(table, "old", "new")}, with: sc.with, sources: sc.sources}
}

// query finds what WITH, here or around here, calls by a name.
func (sc *scope) query(name string) (outputs, bool) {
	for ; sc != nil; sc = sc.parent {
		if o, ok := sc.with[name]; ok {
			return o, true
		}
	}
	return outputs{}, false
}

// find is the item that a qualifier names.
func (sc *scope) find(qualifier Name) (source, bool) {
	for ; sc != nil; sc = sc.parent {
		for _, s := range sc.sources {
			if s.name.Name == qualifier.Name && (qualifier.Schema == "" || s.name.Schema == "" || s.name.Schema == qualifier.Schema) {
				return s, true
			}
		}
	}
	return source{}, false
}

// column is what a column of the item stands for; known says whether the item itself says so.
func (s source) column(name string) (columns []Column, known bool) {
	if origin, ok := s.columns.origin[name]; ok {
		return origin, true
	}
	for _, t := range s.tables {
		columns = append(columns, Column{t, name})
	}
	return columns, false
}

// system are the columns that every table has (PostgreSQL 5.6).
var system = []string{"tableoid", "xmin", "cmin", "xmax", "cmax", "ctid"}

// bare is what a name without a qualifier may stand for: with one item that says so, that; else a column of any table here
// or in the queries around.
func (sc *scope) bare(name string) []Column {
	var candidates []Column
	for ; sc != nil; sc = sc.parent {
		for _, s := range sc.sources {
			columns, known := s.column(name)
			if known {
				return columns
			}
			candidates = append(candidates, columns...)
			if s.name.Name == name { // the whole row, or what a function answers
				if len(s.tables) == 0 {
					return nil
				}
				for _, t := range s.tables {
					candidates = append(candidates, Column{t, "*"})
				}
			}
		}
	}
	return candidates
}

// refer is what a reference stands for.
func (sc *scope) refer(ref *pg.ColumnRef) []Column {
	fields := ref.GetFields()
	names := texts(fields)
	last := len(fields) - 1
	if last < 0 {
		return nil
	}
	star := fields[last].GetAStar() != nil
	if last == 0 {
		if star {
			return stars(sc.sources)
		}
		return withoutSystem(sc.bare(names[0]))
	}
	s, ok := sc.find(listed(fields[:last]))
	switch {
	case !ok:
		return nil
	case star:
		return stars([]source{s})
	}
	columns, _ := s.column(names[last])
	return withoutSystem(columns)
}

// stars are all columns of some items.
func stars(sources []source) []Column {
	var list []Column
	for _, s := range sources {
		for _, t := range s.tables {
			list = append(list, Column{t, "*"})
		}
	}
	return list
}

func withoutSystem(columns []Column) []Column {
	return slices.DeleteFunc(slices.Clone(columns), func(c Column) bool { return slices.Contains(system, c.Column) })
}

// renamed are the outputs under the names of an alias's list of columns, which may be shorter.
func (o outputs) renamed(names []string) outputs {
	if len(names) == 0 {
		return o
	}
	is := outputs{origin: map[string][]Column{}, tables: o.tables}
	for i, name := range names {
		var origin []Column
		if i < len(o.order) {
			origin = o.origin[o.order[i]]
		}
		is.order, is.origin[name] = append(is.order, name), origin
	}
	if len(o.order) > len(names) {
		for _, name := range o.order[len(names):] {
			is.order = append(is.order, name)
			if _, taken := is.origin[name]; !taken {
				is.origin[name] = o.origin[name]
			}
		}
	}
	return is
}

// derived is an item of FROM that another query makes.
func derived(name string, o outputs) source {
	return source{name: Name{Name: name}, tables: o.tables, columns: o}
}
