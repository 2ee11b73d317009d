package adopt

import (
	"context"
	"fmt"
	"slices"

	"github.com/jackc/pgx/v5"

	"github.com/metaextract/pipeline/migrations/finding"
	"github.com/metaextract/pipeline/migrations/history"
)

// pipeline is what our own record is called.
const pipeline = "the pipeline"

// readOwn reads the version and the history. The version's table is golang-migrate's too, so what it says without a line
// in the history is the work of its command line.
func (e *evidence) readOwn(ctx context.Context, tx pgx.Tx, all []relation) error {
	e.version, e.inForce = history.NoVersion, map[int64]history.Entry{}
	at := slices.IndexFunc(all, e.isOwn)
	if at < 0 {
		return nil
	}
	var entries []history.Entry
	err := reading(ctx, tx, func(tx pgx.Tx) (err error) {
		e.version, e.dirty, err = e.tables.ReadVersion(ctx, tx.Conn())
		return err
	})
	if err == nil {
		err = reading(ctx, tx, func(tx pgx.Tx) (err error) {
			entries, err = e.tables.Read(ctx, tx.Conn())
			return err
		})
	}
	if err != nil {
		return fmt.Errorf("read the pipeline's own tables in schema %s: %w", e.tables.Schema, err)
	}
	for version, entry := range history.InForce(entries) {
		if version <= e.version { // what is above was taken back without us
			e.inForce[version] = entry
		}
	}
	if e.version < 0 {
		return nil
	}
	ours := table{relation: all[at], runner: runner{name: pipeline}, rows: len(e.inForce), group: e.main, claims: map[*file]claim{}}
	theirs := table{relation: all[at], runner: runner{name: golangMigrate}, rows: 1, group: e.main, claims: map[*file]claim{}}
	if len(e.inForce) == 0 && e.elsewhere(&theirs) {
		return nil
	}
	e.claimRecorded(&ours)
	for _, f := range e.in(e.main) {
		if _, recorded := ours.claims[f]; !recorded && f.own && *f.number <= e.version {
			if _, recorded := e.inForce[*f.number]; !recorded {
				theirs.claims[f] = claim{runner: golangMigrate, table: theirs.String(), failed: e.dirty && *f.number == e.version}
			}
		}
	}
	if e.number[e.main][e.version] == nil {
		theirs.absences = append(theirs.absences, absence{runner: golangMigrate, table: theirs.String(), group: e.main, number: &e.version})
	}
	if e.dirty {
		e.add(finding.Refuse, "half-applied", theirs.object(), fmt.Sprintf("it says that version %d is half applied", e.version),
			fmt.Sprintf("finish it with pipeline migrate, or finish or undo it by hand and write what is so: UPDATE %s SET dirty = false", e.tables.VersionName()))
	}
	for _, t := range []table{ours, theirs} {
		if len(t.claims)+len(t.absences) > 0 {
			e.matched = append(e.matched, t)
		}
	}
	return nil
}

// elsewhere says whether the version is not of the folder itself but of a further one, which golang-migrate applied. Its
// row would then have to be overwritten.
func (e *evidence) elsewhere(theirs *table) bool {
	var groups []string
	for _, g := range e.groups() {
		if e.number[g][e.version] != nil {
			groups = append(groups, g)
		}
	}
	switch {
	case len(groups) == 0, len(groups) == 1 && groups[0] == e.main:
		return false
	case len(groups) > 1:
		e.confuse(*theirs, groups)
		return true
	}
	theirs.group = groups[0]
	e.claimUpTo(theirs, &e.version, claim{runner: golangMigrate, table: theirs.String()})
	e.matched = append(e.matched, *theirs)
	e.add(finding.Refuse, "version-table-taken", theirs.object(), fmt.Sprintf("golang-migrate keeps the version of %s in it, where that of %s would have to be written", theirs.group, e.main),
		fmt.Sprintf("move it out of the way: ALTER TABLE %s RENAME TO other_migrations; whoever still runs golang-migrate there adds x-migrations-table=other_migrations to its URL", theirs.sql()))
	e.version = history.NoVersion
	return true
}

// claimRecorded claims what our own history says. An entry is about all the files that a migration had then.
func (e *evidence) claimRecorded(ours *table) {
	for place, m := range e.source.Migrations() {
		entry, recorded := e.inForce[m.Version]
		if !recorded {
			continue
		}
		for _, f := range e.places[place] {
			c := claim{runner: pipeline, table: ours.String(), stored: entry.SHA256, like: same, at: entry.FinishedAt}
			if entry.Status == history.Adopted {
				c.at = nil // that was when it was adopted
			}
			alone := sha256Hex(f.body) == entry.SHA256 // recorded before others were accepted with it
			switch {
			case entry.SHA256 == m.SHA256 || alone:
			case f.own:
				c.like = different
			default:
				continue
			}
			ours.claims[f] = c
		}
	}
	for version, entry := range e.inForce {
		if e.number[e.main][version] == nil {
			ours.absences = append(ours.absences, absence{runner: pipeline, table: ours.String(), group: e.main, written: entry.Name, number: &entry.Version, stored: entry.SHA256})
		}
	}
}
