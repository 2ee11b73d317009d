package rehearsal

import (
	"context"
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/metaextract/pipeline/internal/pg"
	"github.com/metaextract/pipeline/migrations/catalog"
	"github.com/metaextract/pipeline/migrations/checksum"
	"github.com/metaextract/pipeline/migrations/finding"
	"github.com/metaextract/pipeline/migrations/folder"
	"github.com/metaextract/pipeline/migrations/history"
	"github.com/metaextract/pipeline/migrations/script"
	"github.com/metaextract/pipeline/migrations/statement"
)

func newRoundTrip() RoundTrip {
	return RoundTrip{Verdict: NoWay, Down: []Way{}, Before: []catalog.Difference{}, Again: []catalog.Difference{}, Data: []checksum.Change{},
		Irreversible: map[int64]string{}, Proposed: map[string]string{}}
}

// roundTrip takes back what was applied, as far as it can be, and applies it again. The schema after the way back must be
// the one from before, and so must the data: a way back that makes a dropped column again, empty, leads nowhere.
func (c *copyOf) roundTrip(ctx context.Context) error {
	trip := &c.report.RoundTrip
	target, all, err := c.reversible(ctx)
	if err != nil || len(trip.Down) == 0 {
		return err
	}
	if lost, err := c.down(ctx, target); err != nil || lost {
		return err
	}
	if all {
		if err := c.compareBack(ctx); err != nil {
			return err
		}
	}
	m, err := c.migrator(c.url)
	if err != nil {
		return err
	}
	if _, err := m.Up(ctx); err != nil {
		trip.Verdict = NotBack
		c.found(finding.Finding{Name: "way-back-breaks-the-way-up", Level: finding.Refuse, Basis: finding.Measured,
			Message: "after the way back the migrations cannot be applied again: " + err.Error()})
		return ctx.Err()
	}
	again, err := c.snapshot(ctx)
	if err != nil {
		return err
	}
	trip.Again = append(trip.Again, catalog.Compare(c.after, again)...)
	if len(trip.Again) > 0 {
		c.found(finding.Finding{Name: "second-way-up-differs", Level: finding.Refuse, Basis: finding.Measured,
			Message: "applied a second time, after the way back, the migrations make another schema: " + differences(trip.Again)})
	}
	c.concludeTrip(all)
	return nil
}

// reversible finds how far back the way leads: to the version before the first pending migration, or to the last one that
// cannot be taken back. For a migration without a way back one is made up, where its statements have one; it is tried like
// any other.
func (c *copyOf) reversible(ctx context.Context) (target int64, all bool, err error) {
	trip := &c.report.RoundTrip
	for _, m := range slices.Backward(c.Pending) {
		switch {
		case m.Declared.Irreversible != "":
			trip.Irreversible[m.Version] = m.Declared.Irreversible
			return m.Version, false, nil
		case m.Down != "":
			trip.Down = append(trip.Down, Way{m.Version, m.Name, m.Down})
		default:
			sql, ok := proposal(c.parsed[m.Version])
			if !ok {
				c.noWayBack(m, "")
				return m.Version, false, nil
			}
			if err := c.remember(ctx, m, sql); err != nil {
				return 0, false, err
			}
			trip.Proposed[DownFile(m.File)] = sql
			trip.Down = append(trip.Down, Way{m.Version, m.Name, "proposed"})
		}
	}
	return c.report.From, true, nil
}

// proposal is a way back made of the inverse of every statement, the last one first. Statements that change rows are left
// out: whether something of theirs stays behind is seen when the data are compared.
func proposal(statements []*statement.Statement) (sql string, ok bool) {
	var lines []string
	for _, s := range slices.Backward(statements) {
		if class := s.Class(); class == statement.Backfill && !s.Opaque() || class == statement.Neutral {
			continue
		}
		inverse, ok := s.Inverse()
		if !ok {
			return "", false
		}
		if inverse != "" {
			lines = append(lines, inverse+";")
		}
	}
	return strings.Join(lines, "\n"), len(lines) > 0
}

// remember writes a way back into the copy's history, where the migrator looks for one that the folder does not have.
func (c *copyOf) remember(ctx context.Context, m folder.Migration, sql string) error {
	tables, err := history.Find(ctx, c.conn)
	if err != nil {
		return err
	}
	return tables.SetDown(ctx, c.conn, m.Version, sql, folder.Hash([]byte(sql)))
}

// DownFile is the name that a migration's way back would have.
func DownFile(up string) string {
	switch dir, name := path.Split(up); {
	case strings.HasSuffix(name, ".up.sql"):
		return strings.TrimSuffix(up, ".up.sql") + ".down.sql"
	case name == "migration.sql": // drizzle-kit 1.x
		return dir + "down.sql"
	}
	return strings.TrimSuffix(up, ".sql") + ".down.sql"
}

// down takes the migrations back. A way back that fails is found, and is no error of the rehearsal.
func (c *copyOf) down(ctx context.Context, target int64) (failed bool, err error) {
	m, err := c.migrator(c.url)
	if err != nil {
		return false, err
	}
	start := time.Now()
	outcome, err := m.Down(ctx, target)
	c.report.RoundTrip.DurationMS = milliseconds(time.Since(start))
	if err == nil || ctx.Err() != nil {
		return false, err
	}
	c.report.RoundTrip.Verdict = NotBack
	next := c.report.RoundTrip.Down[min(len(outcome.Applied), len(c.report.RoundTrip.Down)-1)]
	for _, m := range c.Pending {
		if m.Version != next.Version {
			continue
		}
		if next.By == "proposed" {
			delete(c.report.RoundTrip.Proposed, DownFile(m.File))
			c.noWayBack(m, "one that was made up of its statements fails: "+first(err))
			continue
		}
		f := finding.Finding{
			Name: "way-back-fails", Level: finding.Refuse, Basis: finding.Measured, Version: m.Version, File: m.Down,
			Message: "the way back fails: " + first(err), Fix: "correct " + m.Down + ", or declare in the migration: -- deploy: irreversible REASON",
		}
		var sql *script.Error
		if errors.As(err, &sql) {
			f.File, f.Line = sql.File, sql.Line
		}
		c.found(f)
	}
	return true, nil
}

// noWayBack tells of a migration that cannot be taken back and does not say so. One that only adds can be left where it is.
func (c *copyOf) noWayBack(m folder.Migration, why string) {
	f := place(m, finding.Finding{
		Name: "irreversible-undeclared", Level: finding.Warn, Basis: finding.Measured,
		Message: "the migration has no way back" + also(why),
		Fix:     "write " + DownFile(m.File) + ", or declare in the migration: -- deploy: irreversible REASON",
	})
	for _, s := range c.parsed[m.Version] {
		if s.Class() == statement.Contract {
			f.Level = finding.Refuse
			f.Message = "the migration " + s.Why() + ", has no way back and does not say so" + also(why)
			break
		}
	}
	c.found(f)
}

// compareBack compares schema and data after the way back with those from before.
func (c *copyOf) compareBack(ctx context.Context) error {
	trip := &c.report.RoundTrip
	back, err := c.snapshot(ctx)
	if err != nil {
		return err
	}
	trip.Before = append(trip.Before, catalog.Compare(c.before, back)...)
	if len(trip.Before) > 0 {
		c.found(finding.Finding{Name: "way-back-leads-elsewhere", Level: finding.Refuse, Basis: finding.Measured,
			Message: "the schema after the way back is not the one from before: " + differences(trip.Before),
			Fix:     "correct the down files, or declare in the migration: -- deploy: irreversible REASON"})
	}
	for _, conn := range []*pgx.Conn{c.first, c.conn} {
		if _, err := conn.Exec(ctx, checksum.Session, pgx.QueryExecModeSimpleProtocol); err != nil {
			return fmt.Errorf("compare the data: %w", pg.Ended(ctx, err))
		}
	}
	defer c.resetSessions(ctx)
	changes, err := c.original.Changes(ctx, c.conn)
	if err != nil {
		return err
	}
	trip.Data = append(trip.Data, changes...)
	for _, change := range changes {
		f := finding.Finding{
			Name: "way-back-loses-data", Level: finding.Refuse, Basis: finding.Measured, Object: object(change),
			Message: "after the way back, " + change.String() + ": it cannot be brought back but from a backup",
			Fix:     "declare in the migration: -- deploy: irreversible REASON",
		}
		if m, ok := c.culprit(change); ok {
			f = place(m, f)
		}
		c.found(f)
	}
	return nil
}

func (c *copyOf) concludeTrip(all bool) {
	trip := &c.report.RoundTrip
	switch {
	case len(trip.Before) > 0 || len(trip.Again) > 0 || len(trip.Data) > 0:
		trip.Verdict = NotBack
	case all:
		trip.Verdict = Back
	default:
		trip.Verdict = Partly
	}
	if trip.Verdict != Back {
		return
	}
	for _, m := range c.Pending {
		if sql := trip.Proposed[DownFile(m.File)]; sql != "" {
			c.found(place(m, finding.Finding{Name: "way-back-proposed", Level: finding.Note, Basis: finding.Measured,
				Message: "the migration has no down file; this way back was made of its statements, tried on the copy, and leads back",
				Fix:     DownFile(m.File) + ":\n" + sql}))
		}
	}
}

// differences are the first few of a list.
func differences(list []catalog.Difference) string {
	const most = 5
	var lines []string
	for _, d := range list[:min(len(list), most)] {
		lines = append(lines, d.String())
	}
	if more := len(list) - most; more > 0 {
		lines = append(lines, fmt.Sprintf("and %d more", more))
	}
	return strings.Join(lines, "; ")
}

func also(why string) string {
	if why == "" {
		return ""
	}
	return "; " + why
}

// first is the first line of an error.
func first(err error) string {
	text, _, _ := strings.Cut(err.Error(), "\n")
	return text
}
