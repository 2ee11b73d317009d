package router

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/metaextract/pipeline/deploy"
)

// stateVersion is the format of the state file.
const stateVersion = 1

// state is the file: what a router needs to go on where another one stopped. Slots are taken to be healthy: nothing says
// otherwise, and refusing all traffic until something does would turn a router's restart into an outage.
type state struct {
	Version int         `json:"version"`
	Salt    string      `json:"salt"`
	Slots   []slotState `json:"slots"`
	Routing *Routing    `json:"routing,omitempty"`
	Mirror  *Mirror     `json:"mirror,omitempty"`
}

type slotState struct {
	Slot     deploy.Slot `json:"slot"`
	Weight   int         `json:"weight"`
	Draining bool        `json:"draining,omitempty"`
	Registration
}

// Load is a router that continues from a state file and writes its changes there. A file that does not exist is an empty
// router; one that cannot be read is an error, as starting empty would drop all traffic and then overwrite it.
func Load(path string, options Options) (*Router, error) {
	options.State = path
	r := New(options)
	data, err := os.ReadFile(path)
	if errors.Is(err, os.ErrNotExist) {
		return r, nil
	}
	if err != nil {
		return nil, fmt.Errorf("load router state: %w", err)
	}
	if r.table, err = parseState(data, r); err != nil {
		return nil, fmt.Errorf("load router state %s: %w; move the file away to start without slots", path, err)
	}
	return r, nil
}

// Continue is a router with the table that another process handed over. It writes the table to Options.State.
func Continue(table []byte, options Options) (*Router, error) {
	r := New(options)
	next, err := parseState(table, r)
	if err != nil {
		return nil, fmt.Errorf("take over the table: %w", err)
	}
	return r, r.swap(next)
}

func parseState(data []byte, r *Router) (*table, error) {
	var file state
	if err := json.Unmarshal(data, &file); err != nil {
		return nil, err
	}
	if file.Version != stateVersion {
		return nil, fmt.Errorf("it has format %d, this program reads %d", file.Version, stateVersion)
	}
	next := &table{salt: file.Salt}
	sum := 0
	seen := map[deploy.Slot]bool{}
	for _, s := range file.Slots {
		if err := s.check(); err != nil {
			return nil, fmt.Errorf("slot %s: %w", s.Slot, err)
		}
		if seen[s.Slot] || s.Weight < 0 || s.Weight > 100 {
			return nil, fmt.Errorf("slot %s is there twice or has an impossible weight", s.Slot)
		}
		seen[s.Slot] = true
		loaded, err := newSlot(s.Slot, s.Registration, r)
		if err != nil {
			return nil, fmt.Errorf("slot %s: %w", s.Slot, err)
		}
		sum += s.Weight
		next.entries = append(next.entries, entry{slot: loaded, weight: s.Weight, draining: s.Draining && s.Weight == 0})
	}
	if sum != 0 && sum != 100 {
		return nil, fmt.Errorf("the weights add up to %d", sum)
	}
	if file.Routing != nil {
		if err := file.Routing.check(); err != nil {
			return nil, err
		}
		next.routing = *file.Routing
	}
	if file.Mirror != nil {
		if err := file.Mirror.check(); err != nil {
			return nil, err
		}
		next.mirror = file.Mirror.start(&r.mirrored, r.options.ResponseTimeout)
	}
	next.compile(r.exposed)
	return next, nil
}

func (t *table) marshal() ([]byte, error) {
	file := state{Version: stateVersion, Salt: t.salt, Slots: []slotState{}}
	for _, e := range t.entries {
		file.Slots = append(file.Slots, slotState{Slot: e.slot.name, Weight: e.weight, Draining: e.draining, Registration: e.slot.instance})
	}
	if len(t.routing.Rules)+len(t.routing.Experiments) > 0 {
		file.Routing = &t.routing
	}
	if t.mirror != nil {
		mirror := t.mirror.Mirror
		file.Mirror = &mirror
	}
	return json.MarshalIndent(file, "", "  ")
}

// writeState replaces the file: a reader, or a router that starts after a power cut, sees the old state or the new one
// whole. It is for its owner only, since it says where the application listens.
func writeState(path string, t *table) error {
	data, err := t.marshal()
	if err != nil {
		return err
	}
	temporary, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+".*") // created with 0600
	if err != nil {
		return err
	}
	defer os.Remove(temporary.Name()) // fails once renamed
	_, err = temporary.Write(append(data, '\n'))
	err = errors.Join(err, temporary.Sync(), temporary.Close())
	if err != nil {
		return err
	}
	if err := os.Rename(temporary.Name(), path); err != nil {
		return err
	}
	return syncDir(filepath.Dir(path))
}

// syncDir makes a rename durable.
func syncDir(path string) error {
	dir, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(dir.Sync(), dir.Close())
}
