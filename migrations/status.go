package migrations

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	"github.com/metaextract/pipeline/internal/pg"
	"github.com/metaextract/pipeline/migrations/backfill"
	"github.com/metaextract/pipeline/migrations/catalog"
	"github.com/metaextract/pipeline/migrations/folder"
	"github.com/metaextract/pipeline/migrations/history"
)

// State is how a migration stands in a database.
type State string

// The states. The last five keep a run from beginning.
const (
	StateApplied     State = "applied"
	StatePending     State = "pending"
	StateInterrupted State = "interrupted"  // a run stopped in it; the next one goes on
	StateHalf        State = "half-applied" // another tool stopped in it, and left no word how far it came
	StateEdited      State = "edited"       // it is not what was applied
	StateMissing     State = "missing"      // it was applied, and the folder has it not
	StateOutOfOrder  State = "out-of-order" // it was not applied, and later ones were
	StateNewer       State = "newer"        // it was applied by a later release
)

// Item is one migration, of the folder, of the database, or of both.
type Item struct {
	Version int64          `json:"version"`
	Name    string         `json:"name"`
	File    string         `json:"file,omitempty"`
	State   State          `json:"state"`
	Message string         `json:"message,omitempty"` // why, and what to do
	Entry   *history.Entry `json:"entry,omitempty"`   // of the run that applied it, where there is a record

	migration *folder.Migration
}

// Status is how a folder of migrations and a database stand to each other.
type Status struct {
	Version  int64             `json:"version"` // history.NoVersion (-1) for a database without migrations
	Dirty    bool              `json:"dirty"`
	Table    string            `json:"table"` // that holds the version
	Items    []Item            `json:"migrations"`
	Releases []history.Release `json:"releases"`

	Backfills []backfill.Progress `json:"backfills"`
	// Drift is how the schema differs from the one that the last migration left. Where that was not recorded nothing is known.
	Drift      []catalog.Difference `json:"drift"`
	DriftKnown bool                 `json:"drift_known"`

	foreign error
	entries []history.Entry
	resume  *history.Entry // of the run that stopped half way
}

// Status compares the folder with the database. It writes nothing and waits for no lock.
func (m *Migrator) Status(ctx context.Context) (*Status, error) {
	d, err := open(ctx, m.options)
	if err != nil {
		return nil, err
	}
	defer d.Close()
	s, err := m.status(d)
	if err != nil {
		return nil, err
	}
	if s.Backfills, err = backfill.List(ctx, d.conn, d.tables.Schema); err != nil {
		return nil, err
	}
	return s, s.compare(d)
}

// compare looks whether the schema is the one that the last migration left.
func (s *Status) compare(d *driver) error {
	s.Drift = []catalog.Difference{}
	recorded, err := d.tables.RecordedSchema(d.ctx, d.conn)
	if err != nil || recorded == nil {
		return err
	}
	var left catalog.Snapshot
	if err := json.Unmarshal(recorded, &left); err != nil {
		return fmt.Errorf("read the recorded schema: %w", err)
	}
	now, err := catalog.Read(d.ctx, d.conn)
	if err != nil {
		return fmt.Errorf("look at the schema: %w", pg.Ended(d.ctx, err))
	}
	s.DriftKnown = true
	s.Drift = append(s.Drift, catalog.Compare(&left, now)...)
	return nil
}

func (m *Migrator) status(d *driver) (*Status, error) {
	s := &Status{Table: d.tables.Version, Items: []Item{}}
	var err error
	if s.Version, s.Dirty, err = d.tables.ReadVersion(d.ctx, d.conn); err != nil {
		return nil, err
	}
	if s.entries, err = d.tables.Read(d.ctx, d.conn); err != nil {
		return nil, err
	}
	if s.Releases, err = d.tables.Releases(d.ctx, d.conn); err != nil {
		return nil, err
	}
	if s.Version == history.NoVersion && len(s.entries) == 0 {
		if s.foreign, err = d.foreign(); err != nil {
			return nil, err
		}
	}
	s.judge(m.source)
	return s, nil
}

// judge finds the state of every migration.
func (s *Status) judge(source *folder.Source) {
	all := source.Migrations()
	inForce := history.InForce(s.entries)
	recorded := history.NoVersion // the highest version with a record
	for version := range inForce {
		recorded = max(recorded, version)
	}
	reached := s.Version // what is applied for certain
	if s.Dirty {
		s.resume = s.interrupted()
		reached = s.beforeDirty(inForce)
	}
	seen := map[int64]bool{}
	for i := range all {
		m := &all[i]
		seen[m.Version] = true
		item := Item{Version: m.Version, Name: m.Name, File: m.File, State: StatePending, migration: m}
		entry, known := inForce[m.Version]
		switch {
		case s.Dirty && s.halfOf(m.Version):
			item.State = s.half(&item)
		case m.Version > reached: // also one that somebody took back without us
		case known:
			item.State, item.Entry = StateApplied, &entry
			if entry.SHA256 != "" && entry.SHA256 != m.SHA256 {
				item.State = StateEdited
				item.Message = fmt.Sprintf("applied on %s with other content (sha256 %.12s, now %.12s): undo the edit and write a new migration; where both do the same, record the new one with pipeline migrate adopt",
					entry.StartedAt.UTC().Format("2006-01-02"), entry.SHA256, m.SHA256)
			}
		case m.Version < recorded:
			item.State = StateOutOfOrder
			item.Message = fmt.Sprintf("it was not applied, and version %d was: it would never run; generate it anew on top", recorded)
		default:
			item.State, item.Message = StateApplied, "applied without us, by golang-migrate's command line or by hand: there is no record of it"
		}
		s.Items = append(s.Items, item)
	}
	last := all[len(all)-1]
	for version, entry := range inForce {
		if !seen[version] && version <= reached {
			seen[version] = true
			s.Items = append(s.Items, absent(version, entry.Name, &entry, source.Name(), last))
		}
	}
	if s.Version >= 0 && !seen[s.Version] {
		item := absent(s.Version, "", nil, source.Name(), last)
		if s.Dirty {
			item.State = s.half(&item)
		}
		s.Items = append(s.Items, item)
	}
	slices.SortFunc(s.Items, func(a, b Item) int { return cmp.Compare(a.Version, b.Version) })
}

// absent is a migration that the database has and the folder has not.
func absent(version int64, name string, entry *history.Entry, in string, last folder.Migration) Item {
	if version > last.Version {
		return Item{Version: version, Name: name, State: StateNewer, Entry: entry,
			Message: fmt.Sprintf("%s ends at %d (%s): a newer release has migrated the database; deploy one that has its migrations", in, last.Version, last.Name)}
	}
	return Item{Version: version, Name: name, State: StateMissing, Entry: entry,
		Message: fmt.Sprintf("%s does not have it between its others: restore the file that was removed or renumbered", in)}
}

// halfOf says whether a version is the one a run stopped in.
func (s *Status) halfOf(version int64) bool {
	if s.resume != nil {
		return version == s.resume.Version
	}
	return version == s.Version
}

func (s *Status) half(item *Item) State {
	if s.resume == nil {
		item.Message = fmt.Sprintf("a run of golang-migrate stopped in it: finish or undo it by hand, then tell: UPDATE %s SET dirty = false (finished), with version = the one before (undone)", s.Table)
		return StateHalf
	}
	item.Entry = s.resume
	item.Message = fmt.Sprintf("a run stopped after %d of %d statements of its way %s; the next run goes on", s.resume.Done, s.resume.Statements, s.resume.Direction)
	return StateInterrupted
}

// interrupted is the entry of the run that left the version dirty: the last one, where it wrote what it was about to do.
// Another tool writes no entries, so what it left is not ours to go on with.
func (s *Status) interrupted() *history.Entry {
	if len(s.entries) == 0 {
		return nil
	}
	last := s.entries[len(s.entries)-1]
	unfinished := last.Status == history.Running || last.Status == history.Failed || last.Status == history.Interrupted
	if !unfinished || last.Intent == "" {
		return nil
	}
	if last.Direction == history.Up && last.Version != s.Version || last.Direction == history.Down && last.Version <= s.Version {
		return nil
	}
	return &last
}

// beforeDirty is the last version that is applied as a whole while another one is half applied.
func (s *Status) beforeDirty(inForce map[int64]history.Entry) int64 {
	half := s.Version
	if s.resume != nil {
		half = s.resume.Version
	}
	reached := history.NoVersion
	for version := range inForce {
		if version < half {
			reached = max(reached, version)
		}
	}
	if len(inForce) == 0 && half > 0 {
		reached = half - 1 // no record: all below it
	}
	return reached
}

// Refusal is why a run must not begin, every reason of it; nil where it may.
func (s *Status) Refusal() error {
	if s.foreign != nil {
		return s.foreign
	}
	var faults []error
	for _, item := range s.Items {
		sentinel := map[State]error{StateHalf: ErrDirty, StateEdited: ErrEdited, StateMissing: ErrMissing, StateOutOfOrder: ErrOutOfOrder, StateNewer: ErrNewer}[item.State]
		if item.State == StateInterrupted && item.Entry.Direction == history.Down {
			sentinel = ErrDirty
			item.Message = "its way back was interrupted: finish it with pipeline migrate down"
		}
		if sentinel != nil {
			what := fmt.Sprintf("version %d", item.Version)
			if name := cmp.Or(item.File, item.Name); name != "" {
				what = fmt.Sprintf("%s (version %d)", name, item.Version)
			}
			faults = append(faults, fmt.Errorf("%s: %w: %s", what, sentinel, item.Message))
		}
	}
	return errors.Join(faults...)
}

// Pending are the migrations that Up would apply.
func (s *Status) Pending() []folder.Migration {
	list := []folder.Migration{}
	for _, item := range s.Items {
		if item.State == StatePending || item.State == StateInterrupted && item.Entry.Direction == history.Up {
			list = append(list, *item.migration)
		}
	}
	return list
}

// applied are the migrations that are applied, the last one first.
func (s *Status) applied() []Item {
	var list []Item
	for _, item := range slices.Backward(s.Items) {
		switch item.State {
		case StateApplied, StateEdited, StateMissing, StateNewer:
			list = append(list, item)
		}
	}
	return list
}
