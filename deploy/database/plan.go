package database

import (
	"context"
	"slices"

	"github.com/metaextract/pipeline/migrations"
	"github.com/metaextract/pipeline/migrations/finding"
	"github.com/metaextract/pipeline/migrations/folder"
	"github.com/metaextract/pipeline/migrations/rules"
	"github.com/metaextract/pipeline/migrations/statement"
)

// Plan is what Up would do, as far as it can be told without doing it.
type Plan struct {
	Version  int64             `json:"version"` // now; history.NoVersion (-1) for a database without migrations
	Pending  []Planned         `json:"pending"`
	Findings []finding.Finding `json:"findings"` // hints of static rules; a rehearsal measures
	Others   []migrations.Item `json:"others"`   // what keeps a run from beginning
	Contract map[int64]string  `json:"contract,omitempty"`
}

// Planned is a pending migration.
type Planned struct {
	folder.Migration
	Class      statement.Class    `json:"class"`
	Statements []PlannedStatement `json:"statement_list"`
}

// PlannedStatement is one statement of it.
type PlannedStatement struct {
	Line  int             `json:"line"`
	SQL   string          `json:"sql"`
	Class statement.Class `json:"class"`
	Why   string          `json:"why,omitempty"`
	Lock  string          `json:"lock,omitempty"` // expected, on tables that are there
}

// Plan reads the folder and the database, and changes nothing. What would keep a run from beginning is in Others, and is
// the error, too.
func (s *Stage) Plan(ctx context.Context) (*Plan, error) {
	m, err := s.Migrator()
	if err != nil {
		return nil, err
	}
	status, err := m.Status(ctx)
	if err != nil {
		return nil, err
	}
	p := &Plan{Version: status.Version, Pending: []Planned{}, Findings: []finding.Finding{}, Others: []migrations.Item{}, Contract: map[int64]string{}}
	for _, item := range status.Items {
		if item.State != migrations.StateApplied && item.State != migrations.StatePending && item.State != migrations.StateInterrupted {
			p.Others = append(p.Others, item)
		}
	}
	for _, next := range status.Pending() {
		if err := p.add(m.Source(), next); err != nil {
			return nil, err
		}
	}
	finding.Sort(p.Findings)
	return p, status.Refusal()
}

func (p *Plan) add(source *folder.Source, m folder.Migration) error {
	s, err := source.Script(m, folder.Up)
	if err != nil {
		return err
	}
	planned := Planned{Migration: m, Class: statement.Neutral}
	var sqls []string
	for i := range s.Statements {
		sqls = append(sqls, s.SQL(i))
	}
	for i, parsed := range statement.File(sqls) {
		_, line := s.Place(i)
		class := parsed.Class()
		planned.Statements = append(planned.Statements, PlannedStatement{Line: line, SQL: sqls[i], Class: class, Why: parsed.Why(), Lock: parsed.Lock()})
		planned.Class = worse(planned.Class, class)
		if class == statement.Contract {
			p.Contract[m.Version] = parsed.Why()
		}
	}
	hints, err := rules.Check(s, rules.Options{})
	if err != nil {
		return err
	}
	for _, h := range hints {
		h.Version = m.Version
		p.Findings = append(p.Findings, h.Allow(m.Declared.Allow))
	}
	p.Pending = append(p.Pending, planned)
	return nil
}

// worse is the class that says more of a migration.
func worse(a, b statement.Class) statement.Class {
	order := []statement.Class{statement.Neutral, statement.Expand, statement.Backfill, statement.Contract}
	return order[max(slices.Index(order, a), slices.Index(order, b))]
}
