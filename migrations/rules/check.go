package rules

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"google.golang.org/protobuf/proto"

	"github.com/metaextract/pipeline/migrations/finding"
	"github.com/metaextract/pipeline/migrations/script"
	"github.com/metaextract/pipeline/migrations/statement"
)

// check is one run over a script.
type check struct {
	script  *script.Script
	options Options
	sqls    []string
	list    []*statement.Statement
	found   []finding.Finding

	index int                  // of the statement in the script
	now   *statement.Statement // it, or one in its DO block
	shift int                  // lines between their beginnings
	slow  bool                 // it may take long

	types     map[statement.Column]string // that the script gave columns
	unchecked []checked                   // constraints that the script added NOT VALID
	validated []checked                   // constraints that it validated or found validated
	checks    []statement.Name            // tables it added a CHECK to
	held      []held                      // strong locks that the transaction has on old tables
	labels    []string                    // that it added to enums
	dropped   []string                    // data that it drops
	droppedAt struct{ index, shift int }  // the first statement that does
}

// checked is a constraint; Column is what it says is not null, if that is what it says.
type checked struct {
	table        statement.Name
	name, column string
}

// hint is a finding at a place in the current statement; at is a byte of its text.
func (c *check) hint(level finding.Level, name string, object fmt.Stringer, at int32, message, fix string) {
	f := finding.Finding{Name: name, Level: level, Basis: finding.Static, Statement: c.index + 1, Message: message, Fix: fix}
	f.File, f.Line = c.script.Place(c.index)
	f.Line += c.shift + strings.Count(c.now.SQL()[:max(0, min(int(at), len(c.now.SQL())))], "\n")
	if object != nil {
		f.Object = object.String()
	}
	for _, other := range c.found {
		if other.Name == f.Name && other.Statement == f.Statement && other.Object == f.Object && other.Line == f.Line {
			return // a table of a list, a column in two constraints
		}
	}
	c.found = append(c.found, f)
}

func (c *check) warn(name string, object fmt.Stringer, at int32, message, fix string) {
	c.hint(finding.Warn, name, object, at, message, fix)
}

func (c *check) note(name string, object fmt.Stringer, at int32, message, fix string) {
	c.hint(finding.Note, name, object, at, message, fix)
}

// slowly is a hint about what takes long because a table has many rows.
func (c *check) slowly(name string, table statement.Name, object fmt.Stringer, at int32, message, fix string) {
	if rows, known := c.rows(table); known && 0 <= rows && rows <= small {
		c.note(name, object, at, fmt.Sprintf("%s; with about %d rows that is soon done", message, rows), fix)
		return
	}
	c.slow = true
	c.warn(name, object, at, message, fix)
}

func (c *check) rows(table statement.Name) (int64, bool) {
	if c.options.Knows == nil {
		return 0, false
	}
	return c.options.Knows(table)
}

// fresh says whether a table is new: made by the script, or, where it may have been there (IF NOT EXISTS), not known to
// the database.
func (c *check) fresh(table statement.Name) bool {
	if c.now.New(table) {
		return true
	}
	if _, exists := c.rows(table); exists || c.options.Knows == nil {
		return false
	}
	for _, st := range c.list[:c.index] {
		for _, o := range st.Makes() {
			if o.Part == "" && o.Name.Is(table) {
				return true
			}
		}
	}
	return false
}

// typeOf is a column's type before the current statement.
func (c *check) typeOf(column statement.Column) (string, bool) {
	if t, ok := c.types[plain(column)]; ok {
		return t, true
	}
	if c.options.Columns == nil {
		return "", false
	}
	return c.options.Columns(column.Table, column.Column)
}

// plain is a column with the schema left out where that is the usual one, so that it can be compared.
func plain(column statement.Column) statement.Column {
	if column.Table.Schema == "public" {
		column.Table.Schema = ""
	}
	return column
}

func tableObject(n statement.Name) statement.Object {
	return statement.Object{Kind: "table", Name: n}
}

func columnObject(table statement.Name, column string) statement.Object {
	return statement.Object{Kind: "column", Name: table, Part: column}
}

// opacity are the hints about what cannot be read.
func (c *check) opacity() {
	if err := c.now.Err(); err != nil {
		at := int32(0)
		var syntax *statement.SyntaxError
		if errors.As(err, &syntax) {
			at = int32(syntax.Offset)
		}
		c.warn("not-understood", nil, at, "The statement is not checked, for PostgreSQL 17's grammar does not know it: "+
			strings.TrimPrefix(err.Error(), statement.ErrNotUnderstood.Error()+": "), "")
		return
	}
	told := slices.ContainsFunc(c.now.Inner(), func(i statement.Inner) bool { return i.Opaque() })
	if c.now.Opaque() && !told {
		c.note("opaque", nil, 0, "What the statement does cannot be told from its text: it "+c.now.Why(),
			"-- rehearse it, or write the statements out")
	}
}

// each visits the parts of the current statement.
func (c *check) each(visit func(proto.Message)) {
	statement.Walk(c.now.Tree(), func(m proto.Message) bool {
		visit(m)
		return true
	})
}
