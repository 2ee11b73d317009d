// Package statement says what one SQL statement is, by its syntax tree: whether old code survives it, what it makes,
// removes, uses, writes and locks, and what takes it back. It reads text alone: it knows no database, runs nothing and
// never decides whether a migration may run. migrations/rules, migrations/compat, migrations/plans and
// migrations/rehearsal call it.
//
// The grammar is that of PostgreSQL 17. What it does not know is ErrNotUnderstood, which callers report as a finding.
//
// # What is which class
//
// Each step of a statement has a class (an ALTER TABLE has a step for every command), and the statement has the highest of
// contract, backfill, expand, neutral. A step on what the same file made before is expand, for nobody else can have used
// it (see File).
//
//	contract  DROP of anything but indexes, statistics and event triggers
//	          RENAME and SET SCHEMA of anything but indexes, statistics, triggers, policies and rules, which no query names
//	          ALTER COLUMN TYPE (the old type is not in the statement: see Widens), SET NOT NULL, DROP DEFAULT, DROP
//	          EXPRESSION, DROP IDENTITY, GENERATED ALWAYS AS IDENTITY on a column that was written by hand
//	          ADD COLUMN that is NOT NULL without a default: old code's INSERT leaves it out
//	          ADD COLUMN that is UNIQUE and has a default: so does every row
//	          ADD CHECK, UNIQUE, PRIMARY KEY, EXCLUDE, FOREIGN KEY, also NOT VALID, and CREATE UNIQUE INDEX: old code may
//	          write rows that break it. Not so a foreign key of columns that the file added, nor uniqueness that takes in
//	          a column which it added nullable and without a default
//	          ALTER DOMAIN ADD CONSTRAINT and SET NOT NULL, ALTER TYPE … RENAME VALUE and of attributes
//	          REVOKE, OWNER TO (the old owner loses its rights), ALTER ROLE, DISABLE TRIGGER, ENABLE ROW LEVEL SECURITY,
//	          a RESTRICTIVE policy, ALTER POLICY, CREATE RULE … INSTEAD, NO INHERIT, DETACH PARTITION
//	          DO blocks that are not plain, CALL, functions of one's own that a SELECT calls: they are opaque
//	backfill  INSERT, UPDATE, DELETE, MERGE, COPY FROM, also within WITH; TRUNCATE: old code copes with fewer rows as it
//	          does with other ones; setval, RESTART; SET EXPRESSION
//	expand    CREATE of anything else, also OR REPLACE; ADD COLUMN otherwise; ADD … USING INDEX for UNIQUE: the index binds
//	          already; DROP NOT NULL (old code may not expect a null when it reads: see Why), DROP CONSTRAINT (an ON
//	          CONFLICT that needs it fails), SET DEFAULT, ADD VALUE, GRANT, ENABLE TRIGGER, INHERIT, ATTACH PARTITION
//	neutral   DROP INDEX (answers stay, plans change), VALIDATE CONSTRAINT (new rows are bound before), storage,
//	          statistics and settings; SET, ANALYZE, VACUUM, COMMENT, REINDEX, CLUSTER, REFRESH, LOCK, SELECT, …
package statement

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	pg "github.com/pganalyze/pg_query_go/v6"
)

// Statement is one statement. It does not change; all methods are safe for concurrent use.
type Statement struct {
	sql    string
	tree   *pg.Node // nil where it was not understood
	err    error
	steps  []step
	locks  []lock
	makes  []Object
	gone   []Object // what it removes
	opaque bool
	inner  []Inner
	known  *known // what the file made before
}

// step is one thing that a statement does.
type step struct {
	class Class
	why   string // "drops column users.legacy"
	on    []Object
	// plainly, where set, decides with what the file made instead of on.
	plainly func(*known) bool
}

// lock is a mode, as pg_locks names it, on a relation.
type lock struct {
	table Name
	mode  string
}

// Inner is a statement within another: in the body of a DO block.
type Inner struct {
	*Statement
	Line int // of the outer statement's text, from 0, that it begins in
}

// Parse reads exactly one statement. The error is ErrNotUnderstood; it is a *SyntaxError where PostgreSQL's grammar says
// what is wrong.
func Parse(sql string) (*Statement, error) {
	s := read(sql, &known{})
	if s.err != nil {
		return nil, s.err
	}
	return s, nil
}

// File reads the statements of one file in their order, each knowing what those before it made: nobody else has used
// that. A statement that is not understood has an Err.
func File(sqls []string) []*Statement {
	made := &known{}
	list := make([]*Statement, len(sqls))
	for i, sql := range sqls {
		list[i] = read(sql, made)
		made = made.with(list[i])
	}
	return list
}

// read is a statement that follows others of its file.
func read(sql string, made *known) *Statement {
	s := &Statement{sql: sql, known: made}
	result, err := parse(sql)
	switch {
	case err != nil:
		s.err = err
	case len(result.GetStmts()) != 1:
		s.err = fmt.Errorf("%w: one statement is expected, and the text holds %d", ErrNotUnderstood, len(result.GetStmts()))
	}
	if s.err != nil {
		s.opaque = true
		s.add(Contract, "is not understood")
		return s
	}
	s.tree = result.GetStmts()[0].GetStmt()
	s.look()
	return s
}

// SQL is the statement's text.
func (s *Statement) SQL() string { return s.sql }

// Err is why the statement was not understood; nil where it was.
func (s *Statement) Err() error { return s.err }

// Tree is the syntax tree; nil where the statement was not understood. It must not be changed.
func (s *Statement) Tree() *pg.Node { return s.tree }

// Class is the highest class of the statement's steps.
func (s *Statement) Class() Class {
	class := Neutral
	for _, st := range s.steps {
		if c := s.classOf(st); rank[c] > rank[class] {
			class = c
		}
	}
	return class
}

// Why says what of the statement makes it what it is, naming the objects: "drops column users.legacy". It is "" for
// neutral ones.
func (s *Statement) Why() string {
	class := s.Class()
	if class == Neutral {
		return ""
	}
	var reasons []string
	for _, st := range s.steps {
		if s.classOf(st) == class && !slices.Contains(reasons, st.why) {
			reasons = append(reasons, st.why)
		}
	}
	return strings.Join(reasons, ", ")
}

// classOf is the class of a step on what is not new.
func (s *Statement) classOf(st step) Class {
	if st.class == Neutral {
		return Neutral
	}
	if s.known.any(st.on) || st.plainly != nil && st.plainly(s.known) {
		return Expand
	}
	return st.class
}

// Opaque says that what the statement does cannot be told from its text: a DO block that is more than statements and
// conditions, a procedure, a function of one's own, or what is not understood. It is a contract step then.
func (s *Statement) Opaque() bool { return s.opaque }

// Inner are the statements in the body of a DO block of PL/pgSQL, as far as they are written out.
func (s *Statement) Inner() []Inner { return s.inner }

// strength orders lock modes by what they keep out (PostgreSQL 13.3, "Table-Level Locks").
var strength = []string{
	"", "AccessShareLock", "RowShareLock", "RowExclusiveLock", "ShareUpdateExclusiveLock",
	"ShareLock", "ShareRowExclusiveLock", "ExclusiveLock", "AccessExclusiveLock",
}

// Lock is the strongest lock, as pg_locks names it, that the statement takes on a table or view which was there before the
// file; "" for none. Sources: PostgreSQL 13.3; AlterTableGetLockLevel in src/backend/commands/tablecmds.c; a test compares
// it with what a server takes. What functions and triggers do, and tables that only CASCADE reaches, are not in it.
func (s *Statement) Lock() string {
	strongest := 0
	for _, l := range s.locks {
		if !s.known.table(l.table) {
			strongest = max(strongest, slices.Index(strength, l.mode))
		}
	}
	return strength[strongest]
}

// Locks are the locks on each of the tables that Lock is about. That of DROP INDEX stands under the index's name.
func (s *Statement) Locks() map[Name]string {
	modes := map[Name]string{}
	for _, l := range s.locks {
		if !s.known.table(l.table) && slices.Index(strength, l.mode) > slices.Index(strength, modes[l.table]) {
			modes[l.table] = l.mode
		}
	}
	return modes
}

// Makes are the objects that were not there before, renamed ones under their new name. What PostgreSQL names by itself (an
// index without a name) is left out.
func (s *Statement) Makes() []Object { return s.makes }

// Removes are the objects that are not there afterwards, renamed ones under their old name.
func (s *Statement) Removes() []Object { return s.gone }

// New says whether the file made the table, view or the like before this statement, so that nobody else has used it.
func (s *Statement) New(table Name) bool { return s.known.table(table) }

// NewColumn says whether the file added the column before this statement, to a table that may be old.
func (s *Statement) NewColumn(c Column) bool {
	return s.known.table(c.Table) || s.known.column(c.Table, c.Column)
}

// Fingerprint is equal for statements that differ in constants only; "" where the statement was not understood.
func (s *Statement) Fingerprint() string {
	if s.err != nil {
		return ""
	}
	return fingerprint(s.sql)
}

// Tables are the tables and views that the statement names and does not make, in the order of their names.
func (s *Statement) Tables() []Name {
	var list []Name
	for _, n := range s.relations() {
		if !slices.ContainsFunc(s.makes, func(o Object) bool { return o.Part == "" && o.Name == n }) && !slices.Contains(list, n) {
			list = append(list, n)
		}
	}
	slices.SortFunc(list, compareNames)
	return list
}

func compareNames(a, b Name) int {
	return cmp.Or(cmp.Compare(a.Schema, b.Schema), cmp.Compare(a.Name, b.Name))
}

func (s *Statement) add(class Class, why string, on ...Object) {
	s.steps = append(s.steps, step{class: class, why: why, on: on})
}

func (s *Statement) lock(table Name, mode string) { s.locks = append(s.locks, lock{table, mode}) }

func (s *Statement) make(o Object) { s.makes = append(s.makes, o) }

func (s *Statement) remove(o Object) { s.gone = append(s.gone, o) }
