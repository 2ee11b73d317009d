package compat

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"

	"github.com/jackc/pgx/v5"
	pg_query "github.com/pganalyze/pg_query_go/v6"
	"google.golang.org/protobuf/proto"

	"github.com/metaextract/pipeline/internal/pg"
	"github.com/metaextract/pipeline/migrations/corpus"
	"github.com/metaextract/pipeline/migrations/statement"
)

// sent is a statement of the running release.
type sent struct {
	corpus.Statement
	parsed *statement.Statement // what could be understood of it
}

// parse reads the statements of a corpus; those that are not understood know no tables.
func parse(statements []corpus.Statement) []sent {
	list := make([]sent, 0, len(statements))
	for _, s := range statements {
		list = append(list, sent{s, statement.File([]string{s.Preparable()})[0]})
	}
	return list
}

// usage is what the running release does with each table, by the names that they have in the database.
type usage struct {
	tables map[statement.Name]*use
	names  map[statement.Name]statement.Name // as they are written, to those in the database
	calls  []string                          // functions
}

// use is what is done with a table.
type use struct {
	inserts []insertion
	sets    map[string]bool  // columns that an UPDATE assigns to
	removes bool             // DELETE and the like
	example corpus.Statement // one of those that write, or of the others, the most called
}

// writes says whether rows are added or changed.
func (u *use) writes() bool { return u != nil && (len(u.inserts) > 0 || len(u.sets) > 0) }

// insertion is one way in which rows are added.
type insertion struct {
	from     corpus.Statement
	columns  []string        // nil: all that the table had
	none     bool            // DEFAULT VALUES
	defaults map[string]bool // columns that are named and given DEFAULT
}

// gives says whether the insertion brings a value for a column, which is one that the table already had.
func (i insertion) gives(column string) bool {
	switch {
	case i.none:
		return false
	case i.columns == nil:
		return true
	}
	return slices.Contains(i.columns, column) && !i.defaults[column]
}

// look finds what the statements do with the tables of a database.
func look(ctx context.Context, conn *pgx.Conn, statements []sent, before *schema) (*usage, error) {
	u := &usage{tables: map[statement.Name]*use{}, names: map[statement.Name]statement.Name{}}
	written := map[string]statement.Name{}
	for _, s := range statements {
		for _, t := range s.parsed.Tables() {
			written[t.SQL()] = t
		}
	}
	rows, err := conn.Query(ctx, `SELECT w.name, n.nspname, c.relname FROM unnest($1::text[]) AS w (name)
			JOIN pg_catalog.pg_class c ON c.oid = pg_catalog.to_regclass(w.name) JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace`,
		slices.Sorted(maps.Keys(written)))
	if err != nil {
		return nil, fmt.Errorf("find the tables of statements: %w", pg.Ended(ctx, err))
	}
	var sql string
	var name statement.Name
	_, err = pgx.ForEachRow(rows, []any{&sql, &name.Schema, &name.Name}, func() error { u.names[written[sql]] = name; return nil })
	if err != nil {
		return nil, fmt.Errorf("find the tables of statements: %w", pg.Ended(ctx, err))
	}
	for _, s := range statements {
		for _, t := range s.parsed.Tables() {
			u.of(t, s.Statement, before)
		}
		u.writes(s, before)
		for _, f := range statement.Calls(s.parsed.Tree()) {
			u.calls = append(u.calls, f.Name)
		}
	}
	return u, nil
}

// of are the entries of a table as a statement names it, and of a view's own table where it has but one; none where the database
// has no such table.
func (u *usage) of(written statement.Name, from corpus.Statement, before *schema) []*use {
	var list []*use
	name, found := u.names[written]
	for range 8 { // views upon views
		if !found {
			break
		}
		entry := u.tables[name]
		if entry == nil {
			entry = &use{sets: map[string]bool{}, example: from}
			u.tables[name] = entry
		}
		list = append(list, entry)
		var base []string
		found = before.tables[name].Base != "" && json.Unmarshal([]byte(before.tables[name].Base), &base) == nil && len(base) == 2
		if found {
			name = statement.Name{Schema: base[0], Name: base[1]}
		}
	}
	return list
}

// writes adds what a statement writes, also within WITH.
func (u *usage) writes(s sent, before *schema) {
	each := func(r *pg_query.RangeVar, do func(*use)) {
		for _, entry := range u.of(statement.Relation(r), s.Statement, before) {
			if !entry.writes() {
				entry.example = s.Statement
			}
			do(entry)
		}
	}
	set := func(targets []*pg_query.Node) func(*use) {
		return func(entry *use) {
			for _, t := range targets {
				entry.sets[t.GetResTarget().GetName()] = true
			}
		}
	}
	statement.Walk(s.parsed.Tree(), func(m proto.Message) bool {
		switch n := m.(type) {
		case *pg_query.InsertStmt:
			each(n.GetRelation(), func(entry *use) { entry.inserts = append(entry.inserts, inserts(s.Statement, n)) })
			each(n.GetRelation(), set(n.GetOnConflictClause().GetTargetList()))
		case *pg_query.UpdateStmt:
			each(n.GetRelation(), set(n.GetTargetList()))
		case *pg_query.DeleteStmt:
			each(n.GetRelation(), func(entry *use) { entry.removes = true })
		case *pg_query.MergeStmt:
			for _, w := range n.GetMergeWhenClauses() {
				switch c := w.GetMergeWhenClause(); c.GetCommandType() {
				case pg_query.CmdType_CMD_INSERT:
					i := insertion{from: s.Statement}
					i.list(c.GetTargetList(), c.GetValues())
					each(n.GetRelation(), func(entry *use) { entry.inserts = append(entry.inserts, i) })
				case pg_query.CmdType_CMD_UPDATE:
					each(n.GetRelation(), set(c.GetTargetList()))
				case pg_query.CmdType_CMD_DELETE:
					each(n.GetRelation(), func(entry *use) { entry.removes = true })
				}
			}
		}
		return true
	})
}

// inserts is what an INSERT brings.
func inserts(from corpus.Statement, n *pg_query.InsertStmt) insertion {
	i := insertion{from: from, none: n.GetSelectStmt() == nil}
	rows := n.GetSelectStmt().GetSelectStmt().GetValuesLists()
	if len(rows) == 0 {
		i.list(n.GetCols(), nil)
	}
	for _, row := range rows {
		i.list(n.GetCols(), row.GetList().GetItems())
	}
	return i
}

// list notes the columns that are written, and those whose value is DEFAULT.
func (i *insertion) list(columns, values []*pg_query.Node) {
	if i.columns = nil; len(columns) == 0 {
		return
	}
	for at, c := range columns {
		name := c.GetResTarget().GetName()
		i.columns = append(i.columns, name)
		if at < len(values) && values[at].GetSetToDefault() != nil {
			if i.defaults == nil {
				i.defaults = map[string]bool{}
			}
			i.defaults[name] = true
		}
	}
}

// find is the use of a table, or of the one that it is a partition of.
func (u *usage) find(name statement.Name, schemas ...*schema) *use {
	for range 8 { // partitions of partitions
		if entry := u.tables[name]; entry != nil {
			return entry
		}
		up := statement.Name{}
		for _, s := range schemas {
			if parent, is := s.parents[name]; is {
				up = parent
			}
		}
		if up == (statement.Name{}) {
			break
		}
		name = up
	}
	return nil
}
