package compat

import (
	"fmt"
	"slices"
	"strings"

	pg_query "github.com/pganalyze/pg_query_go/v6"
	"google.golang.org/protobuf/proto"

	"github.com/metaextract/pipeline/migrations/corpus"
	"github.com/metaextract/pipeline/migrations/finding"
	"github.com/metaextract/pipeline/migrations/statement"
)

// Contract says of the steps that take something away from old code, by rename, removal or a new condition, whether the
// running release still needs it: such a step belongs into the release after the one that stops using it. It looks at texts
// alone and needs no database; Check sees more where there are two. Its findings, by name:
//
//	contract-too-early  the running release uses what is removed or renamed (refused), or writes where a new condition
//	                    is (a warning: whether its rows meet the condition the texts do not say), or reads all columns
//	                    of a table that loses one (a warning: whether it uses that one they do not say)
//	no-evidence         no statement of the running release names the table, it would name the thing in a constant, which
//	                    a corpus does not have, or the step cannot be looked into
//	schema-floor        a note: nothing of the running release needs it, but no older release works after it
func Contract(steps []Step, statements []corpus.Statement) []finding.Finding {
	list := parse(statements)
	var findings []finding.Finding
	for i, step := range steps {
		if step.Parsed.Class() == statement.Contract && !replaced(step, steps[i+1:]) {
			f := judge(step.Parsed, list)
			f.Basis = finding.Static
			findings = append(findings, step.at(f))
		}
	}
	finding.Sort(findings)
	return findings
}

// replaced says whether all that a step removes or renames is made again, under its name, by later steps of its migration: a
// view that gets other columns, or that takes the place of a renamed table. Whether the running release works with what is new
// the texts do not say; Check tries.
func replaced(step Step, later []Step) bool {
	removed := step.Parsed.Removes()
	return len(removed) > 0 && !slices.ContainsFunc(removed, func(o statement.Object) bool {
		return o.Part != "" || !slices.ContainsFunc(later, func(s Step) bool {
			return s.Version == step.Version && slices.ContainsFunc(s.Parsed.Makes(), func(m statement.Object) bool {
				return m.Part == "" && m.Name.Is(o.Name) && (m.Kind == o.Kind || relations[m.Kind] && relations[o.Kind])
			})
		})
	})
}

// relations are the kinds of objects that are read and written alike.
var relations = map[string]bool{"table": true, "view": true, "materialized view": true, "foreign table": true}

// judge says what the running release has to do with a step.
func judge(step *statement.Statement, list []sent) finding.Finding {
	why := step.Why()
	if step.Opaque() {
		return finding.Finding{
			Name: "no-evidence", Level: finding.Warn,
			Message: fmt.Sprintf("the statement %s: what it takes from the running release cannot be seen", why),
			Fix:     "write what it does as plain statements",
		}
	}
	used, all := uses(step, list)
	f := finding.Finding{Name: "contract-too-early"}
	if removed := step.Removes(); len(removed) == 1 {
		f.Object = removed[0].String()
	}
	switch {
	case len(used) > 0 && requires(step):
		f.Level = finding.Refuse
		f.Message = fmt.Sprintf("the statement %s; the running release's does, in %s", why, examples(used))
		f.Fix = "add the column with a default, or nullable; make it so when no running code inserts without it"
	case len(used) > 0 && len(step.Removes()) > 0:
		f.Level = finding.Refuse
		f.Message = fmt.Sprintf("the statement %s, which the running release uses in %s", why, examples(used))
		f.Fix = "release the code that stops using it first; put this step into the next release"
	case len(used) > 0:
		f.Level = finding.Warn
		f.Message = fmt.Sprintf("the statement %s, and the running release works with that in %s", why, examples(used))
		f.Fix = "make sure that the running release copes with it; otherwise release code that does first, and put this step into the next release"
	case len(all) > 0:
		f.Level = finding.Warn
		f.Message = fmt.Sprintf("the statement %s, and the running release reads all columns in %s", why, examples(all))
		f.Fix = "make sure that its code does not use it: release code that names its columns first"
	case !seen(step, list):
		f.Name, f.Level = "no-evidence", finding.Warn
		f.Message = fmt.Sprintf("the statement %s, and no known statement of the running release tells whether it still needs that", why)
		f.Fix = "record the statements of its tests or of production with pg_stat_statements"
	default:
		f.Name, f.Level = "schema-floor", finding.Note
		f.Message = fmt.Sprintf("the statement %s; no known statement of the running release minds, but older releases may: it becomes the oldest that works on the schema", why)
	}
	return f
}

// requires says whether a step adds a column that INSERTs must bring a value for.
func requires(step *statement.Statement) bool {
	return slices.ContainsFunc(step.Tree().GetAlterTableStmt().GetCmds(), func(n *pg_query.Node) bool {
		c := n.GetAlterTableCmd()
		if c.GetSubtype() != pg_query.AlterTableType_AT_AddColumn {
			return false
		}
		d := statement.Defined(c.GetDef().GetColumnDef())
		return d.NotNull && !d.Filled()
	})
}

// narrows are the columns that a step changes; none where it is about the table.
func narrows(step *statement.Statement) []string {
	var columns []string
	for _, n := range step.Tree().GetAlterTableStmt().GetCmds() {
		switch c := n.GetAlterTableCmd(); c.GetSubtype() {
		case pg_query.AlterTableType_AT_AlterColumnType, pg_query.AlterTableType_AT_SetNotNull, pg_query.AlterTableType_AT_ColumnDefault,
			pg_query.AlterTableType_AT_DropExpression, pg_query.AlterTableType_AT_AddIdentity, pg_query.AlterTableType_AT_SetIdentity,
			pg_query.AlterTableType_AT_DropIdentity:
			columns = append(columns, c.GetName())
		case pg_query.AlterTableType_AT_AddColumn:
		default:
			return nil
		}
	}
	return columns
}

// uses are the statements that use what a step takes away or binds, and those that may: they read all columns of a table that
// loses one.
func uses(step *statement.Statement, list []sent) (used, all []sent) {
	for _, s := range list {
		switch {
		case needs(step, s):
			used = append(used, s)
		case star(step, s):
			all = append(all, s)
		}
	}
	return used, all
}

// needs says whether a statement uses what a step takes away, or writes or reads where a step has a new condition.
func needs(step *statement.Statement, s sent) bool {
	removed := step.Removes()
	if slices.ContainsFunc(removed, s.uses) {
		return true
	}
	if len(removed) > 0 {
		return false
	}
	tables, columns := step.Tables(), narrows(step)
	if requires(step) || len(columns) > 0 {
		return slices.ContainsFunc(s.parsed.Inserts(), func(i statement.Insertion) bool { return among(tables, i.Into) }) ||
			slices.ContainsFunc(s.parsed.Uses(), func(c statement.Column) bool {
				return among(tables, c.Table) && (slices.Contains(columns, c.Column) || len(columns) > 0 && c.Column == "*")
			})
	}
	touched := s.parsed.Tables()
	if constrains(step) {
		touched = s.parsed.Writes()
	}
	return slices.ContainsFunc(touched, func(t statement.Name) bool { return among(tables, t) })
}

// constrains says whether a step adds constraints and does nothing else: who only reads does not meet them.
func constrains(step *statement.Statement) bool {
	commands := step.Tree().GetAlterTableStmt().GetCmds()
	return len(commands) > 0 && !slices.ContainsFunc(commands, func(n *pg_query.Node) bool {
		return n.GetAlterTableCmd().GetSubtype() != pg_query.AlterTableType_AT_AddConstraint
	})
}

// uses says whether a statement names an object.
func (s sent) uses(o statement.Object) bool {
	switch {
	case o.Kind == "column":
		return slices.ContainsFunc(s.parsed.Uses(), func(c statement.Column) bool { return c.Column == o.Part && same(c.Table, o.Name) })
	case o.Kind == "schema":
		return slices.ContainsFunc(s.parsed.Tables(), func(t statement.Name) bool { return t.Schema == o.Name.Name })
	case o.Part != "" || o.Kind == "index": // no statement names them
		return false
	case among(s.parsed.Tables(), o.Name) || among(statement.Calls(s.parsed.Tree()), o.Name):
		return true
	}
	found := false
	statement.Walk(s.parsed.Tree(), func(m proto.Message) bool {
		if t, is := m.(*pg_query.TypeName); is && len(t.GetNames()) > 0 {
			last := t.GetNames()[len(t.GetNames())-1].GetString_().GetSval()
			found = found || last == o.Name.Name || last == "_"+o.Name.Name
		}
		return !found
	})
	return found
}

// same says whether two names may mean the same object: search_path decides about one without a schema.
func same(a, b statement.Name) bool {
	return a.Name == b.Name && (a.Schema == b.Schema || a.Schema == "" || b.Schema == "")
}

// among says whether a name may be one of several.
func among(names []statement.Name, name statement.Name) bool {
	return slices.ContainsFunc(names, func(n statement.Name) bool { return same(n, name) })
}

// star says whether a statement reads all columns of a table that loses one.
func star(step *statement.Statement, s sent) bool {
	return slices.ContainsFunc(step.Removes(), func(o statement.Object) bool {
		return o.Kind == "column" && s.uses(statement.Object{Kind: "column", Name: o.Name, Part: "*"})
	})
}

// seen says whether statements name the tables of a step: then those that do not use a part of it are evidence. A step about
// something else than tables needs a corpus that is not empty. Labels of enums and names of sequences are constants in
// statements, which a corpus does not have.
func seen(step *statement.Statement, list []sent) bool {
	var tables []statement.Name
	for _, o := range step.Removes() {
		switch o.Kind {
		case "label", "sequence":
			return false
		case "column", "table", "view", "materialized view", "foreign table":
			tables = append(tables, o.Name)
		}
	}
	if len(tables) == 0 {
		tables = step.Tables()
	}
	for _, t := range tables {
		if !slices.ContainsFunc(list, func(s sent) bool { return among(s.parsed.Tables(), t) }) {
			return false
		}
	}
	return len(list) > 0
}

// examples are the most called statements of a list.
func examples(list []sent) string {
	const most = 3
	var texts []string
	var calls int64
	for i, s := range list {
		calls += s.Calls
		if i < most {
			texts = append(texts, brief(s.SQL))
		}
	}
	text := strings.Join(texts, "; ")
	if len(list) > most {
		text += fmt.Sprintf("; and %d more", len(list)-most)
	}
	return fmt.Sprintf("%s: %s", finding.Count(calls, "call"), text)
}

// Floor is why no release before the running one works after the steps, as history.RaiseFloor records it: the first that
// takes something away. It is "" where none does.
func Floor(steps []Step) string {
	for _, s := range steps {
		if s.Parsed.Class() == statement.Contract {
			return fmt.Sprintf("migration %d %s", s.Version, s.Parsed.Why())
		}
	}
	return ""
}
