package migrations

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"slices"
	"strings"

	"github.com/golang-migrate/migrate/v4/source"

	"github.com/metaextract/pipeline/migrations/folder"
	"github.com/metaextract/pipeline/migrations/history"
)

// Down takes migrations back, the last one first, until the database is at a version; history.NoVersion takes all back.
// The way back is the folder's down file, or the one that the history has kept from when the migration was applied: so an
// older release can take back what a newer one has done (golang-migrate#1091). Errors to expect: those of Up, and
// ErrIrreversible, before anything is done.
func (m *Migrator) Down(ctx context.Context, target int64) (Outcome, error) {
	return m.run(ctx, func(s *Status) (plan, error) { return m.planDown(s, target) })
}

// Back is a migration that Down would take back.
type Back struct {
	Version int64  `json:"version"`
	Name    string `json:"name"`
	From    string `json:"from"` // where the way back is: the file, or "history"
}

// DownPlan lists what Down would take back, with the errors it would end with. It writes nothing.
func (m *Migrator) DownPlan(ctx context.Context, target int64) ([]Back, error) {
	status, err := m.Status(ctx)
	if err != nil {
		return nil, err
	}
	p, err := m.planDown(status, target)
	if err != nil {
		return nil, err
	}
	list := []Back{}
	for _, t := range p.tasks {
		list = append(list, Back{Version: t.Version, Name: t.Name, From: cmp.Or(t.Down, "history")})
	}
	return list, nil
}

// Steps is the target of going n migrations down from where the database is.
func (s *Status) Steps(n int) int64 {
	applied := s.applied()
	if n >= len(applied) {
		return history.NoVersion
	}
	return applied[n].Version
}

func (m *Migrator) planDown(s *Status, target int64) (plan, error) {
	if s.foreign != nil {
		return plan{}, s.foreign
	}
	applied := s.applied()
	if i := slices.IndexFunc(s.Items, func(i Item) bool { return i.State == StateHalf }); i >= 0 {
		return plan{}, fmt.Errorf("version %d: %w: %s", s.Items[i].Version, ErrDirty, s.Items[i].Message)
	}
	if target != history.NoVersion && !slices.ContainsFunc(applied, func(i Item) bool { return i.Version == target }) {
		return plan{}, fmt.Errorf("version %d is not applied, so there is no way back to it; the database is at %d", target, s.Version)
	}
	ways := &recorded{}
	p := plan{source: ways, step: -1}
	var faults []error
	for _, item := range slices.Backward(s.Items) { // a run that stopped half way, in either direction, is taken back first
		if item.State == StateInterrupted && item.Version > target {
			applied = append([]Item{item}, applied...)
		}
	}
	for _, item := range applied {
		t, err := m.back(item)
		if item.Version > target {
			if err != nil {
				faults = append(faults, err)
			}
			p.tasks = append(p.tasks, t)
		}
		ways.tasks = append(ways.tasks, t)
	}
	for i := range p.tasks[:max(len(p.tasks)-1, 0)] {
		p.tasks[i].previous = p.tasks[i+1].Version
	}
	slices.Reverse(ways.tasks)
	return p, errors.Join(faults...)
}

// back is the way back of a migration that is applied.
func (m *Migrator) back(item Item) (task, error) {
	t := task{Migration: folder.Migration{Version: item.Version, Name: item.Name, File: item.File}, direction: history.Down}
	entry := history.Entry{}
	if item.Entry != nil {
		entry = *item.Entry
	}
	if item.State == StateInterrupted {
		if entry.Direction == history.Down {
			t.resume = item.Entry
		} else {
			return t, fmt.Errorf("%s (version %d) stopped half way up: finish it with pipeline migrate up, then take it back", item.Name, item.Version)
		}
	}
	why := entry.Irreversible
	if item.migration != nil {
		t.Migration = *item.migration
		why = cmp.Or(t.Declared.Irreversible, why)
	}
	if why != "" {
		return t, fmt.Errorf("%s (version %d): %w: %s; %s", item.Name, item.Version, ErrIrreversible, why, restore(entry))
	}
	if t.Down != "" && item.State != StateEdited {
		down, err := read(m.source.ReadDown, t.Version)
		t.way, t.waySHA256 = string(down), folder.Hash(down)
		return t, err
	}
	t.Down, t.way, t.waySHA256 = "", entry.DownSQL, entry.DownSHA256
	if t.way == "" {
		return t, fmt.Errorf("%s (version %d): %w: neither the folder nor the history has a way back; write a down file, or %s",
			item.Name, item.Version, ErrIrreversible, restore(entry))
	}
	return t, nil
}

func restore(e history.Entry) string {
	if e.BackupID == "" {
		return "restore a backup from before"
	}
	return "restore backup " + e.BackupID + " from before (pipeline migrate restore), which loses what was written since"
}

// recorded is golang-migrate's source.Driver over the ways back of what is applied, in order of version.
type recorded struct{ tasks []task }

var _ source.Driver = (*recorded)(nil)

// Open is not for use.
func (r *recorded) Open(string) (source.Driver, error) {
	return nil, errors.New("ways back have no URL")
}

// Close has nothing to close.
func (r *recorded) Close() error { return nil }

func (r *recorded) at(i int) (uint, error) {
	if i < 0 || i >= len(r.tasks) {
		return 0, &fs.PathError{Op: "find migration", Path: "history", Err: fs.ErrNotExist}
	}
	return uint(r.tasks[i].Version), nil
}

func (r *recorded) find(version uint) int {
	return slices.IndexFunc(r.tasks, func(t task) bool { return t.Version == int64(version) })
}

// First is the lowest version.
func (r *recorded) First() (uint, error) { return r.at(0) }

// Prev is the version below one of them.
func (r *recorded) Prev(version uint) (uint, error) { return r.at(r.find(version) - 1) }

// Next is the version above one of them.
func (r *recorded) Next(version uint) (uint, error) { return r.at(r.find(version) + 1) }

// ReadUp knows no way forward.
func (r *recorded) ReadUp(uint) (io.ReadCloser, string, error) {
	return nil, "", &fs.PathError{Op: "read migration", Path: "history", Err: fs.ErrNotExist}
}

// ReadDown opens a way back.
func (r *recorded) ReadDown(version uint) (io.ReadCloser, string, error) {
	i := r.find(version)
	if i < 0 || r.tasks[i].way == "" {
		return nil, "", &fs.PathError{Op: "read the way back of a migration", Path: "history", Err: fs.ErrNotExist}
	}
	return io.NopCloser(strings.NewReader(r.tasks[i].way)), r.tasks[i].Name, nil
}
