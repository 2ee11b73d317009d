package supervisor

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/metaextract/pipeline/deploy"
)

// stateVersion is the format of the state file.
const stateVersion = 1

// phase is where a slot is.
type phase string

// The phases of a slot. An empty one is not in the state.
const (
	starting phase = "starting"
	running  phase = "running"
	stopping phase = "stopping"
	lost     phase = "lost" // it ran when the supervisor was killed, and could not be started anew yet
)

// slot is what is in a slot. It is replaced, not changed.
type slot struct {
	phase phase
	why   string       // it is lost
	start startMessage // every unit with its port
	// sealed are the variables whose values are missing, by component; under "" those of all. Only a lost slot has some.
	sealed map[string][]string
}

// state is the file.
type state struct {
	Version int                       `json:"version"`
	Listen  string                    `json:"listen,omitempty"` // of the router
	Slots   map[deploy.Slot]slotState `json:"slots"`
}

type slotState struct {
	Phase  phase               `json:"phase"`
	Start  startMessage        `json:"start"` // without secrets
	Sealed map[string][]string `json:"sealed,omitempty"`
}

// load reads the state. A slot that was being started or stopped is empty now; one that ran is lost until restored.
func (s *supervisor) load() error {
	s.slots, s.listen = map[deploy.Slot]*slot{}, s.options.Listen
	data, err := os.ReadFile(s.path(stateFile))
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("load state: %w", err)
	}
	file, err := parseState(data)
	if err != nil {
		return fmt.Errorf("load state %s: %w; `pipeline down` removes the environment", s.path(stateFile), err)
	}
	if file.Listen != "" {
		s.listen = file.Listen
	}
	for name, one := range file.Slots {
		if one.Phase == running || one.Phase == lost {
			s.slots[name] = &slot{phase: lost, why: "its supervisor ended", start: one.Start, sealed: one.Sealed}
		}
	}
	return nil
}

func parseState(data []byte) (file state, err error) {
	if err := json.Unmarshal(data, &file); err != nil {
		return file, err
	}
	if file.Version != stateVersion {
		return file, fmt.Errorf("it has format %d, this program reads %d", file.Version, stateVersion)
	}
	for name, one := range file.Slots {
		if err := checkSlot(name); err != nil {
			return file, err
		}
		switch one.Phase {
		case starting, running, stopping, lost:
		default:
			return file, fmt.Errorf("slot %s is %q", name, one.Phase)
		}
	}
	return file, nil
}

// save replaces the file: whoever reads it sees the old state or the new one, whole. It needs s.mu.
func (s *supervisor) save() error {
	file := state{Version: stateVersion, Listen: s.listen, Slots: map[deploy.Slot]slotState{}}
	for name, one := range s.slots {
		file.Slots[name] = one.state()
	}
	data, err := json.MarshalIndent(file, "", "  ")
	if err == nil {
		err = replace(s.path(stateFile), append(data, '\n'))
	}
	if err != nil {
		return fmt.Errorf("write state: %w", err)
	}
	return nil
}

// set puts a slot into a phase, nil for empty, and saves. In memory it is there even where the file could not be written.
func (s *supervisor) set(name deploy.Slot, to *slot) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if to == nil {
		delete(s.slots, name)
		s.options.Kept.tell(news{Slot: name})
	} else {
		s.slots[name] = to
		if to.phase != lost { // that is without its secrets
			s.options.Kept.tell(news{Slot: name, Start: &to.start})
		}
	}
	return s.save()
}

// get is what is in a slot, nil for nothing.
func (s *supervisor) get(name deploy.Slot) *slot {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.slots[name]
}

// lost are the slots to restore, in order.
func (s *supervisor) lost() (names []deploy.Slot) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, name := range slices.Sorted(maps.Keys(s.slots)) {
		if s.slots[name].phase == lost {
			names = append(names, name)
		}
	}
	return names
}

// state is the slot as it is written: variables that hold a secret are named, and left out.
func (s *slot) state() slotState {
	out := slotState{Phase: s.phase, Start: s.start, Sealed: map[string][]string{}}
	for component, names := range s.sealed {
		out.Sealed[component] = slices.Clone(names)
	}
	out.Start.Secrets, out.Start.Env = nil, nil
	for _, pair := range s.start.Env {
		name, value, _ := strings.Cut(pair, "=")
		if s.start.secret(value) {
			out.Sealed[""] = append(out.Sealed[""], name)
		} else {
			out.Start.Env = append(out.Start.Env, pair)
		}
	}
	out.Start.Release.Units = nil
	for _, u := range s.start.Release.Units {
		env := map[string]string{}
		for _, name := range slices.Sorted(maps.Keys(u.Env)) {
			if s.start.secret(u.Env[name]) {
				out.Sealed[u.Component] = append(out.Sealed[u.Component], name)
			} else {
				env[name] = u.Env[name]
			}
		}
		u.Env = env
		out.Start.Release.Units = append(out.Start.Release.Units, u)
	}
	return out
}

// unseal is the start of a lost slot with the values that were not written. missing are those that secrets does not have.
func (s *slot) unseal(secrets map[string]string) (start startMessage, missing []string) {
	start = s.start
	start.Secrets = secrets
	start.Env = slices.Clone(start.Env)
	lookup := func(name string) string {
		value, ok := secrets[name]
		if !ok && !slices.Contains(missing, name) {
			missing = append(missing, name)
		}
		return value
	}
	for _, name := range s.sealed[""] {
		start.Env = append(start.Env, name+"="+lookup(name))
	}
	start.Release.Units = slices.Clone(start.Release.Units)
	for i, u := range start.Release.Units {
		env := maps.Clone(u.Env)
		if env == nil {
			env = map[string]string{}
		}
		for _, name := range s.sealed[u.Component] {
			env[name] = lookup(name)
		}
		start.Release.Units[i].Env = env
	}
	slices.Sort(missing)
	return start, missing
}

// replace writes a file whole or not at all, for its owner only.
func replace(path string, data []byte) error {
	temporary, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+".*") // created with 0600
	if err != nil {
		return err
	}
	defer os.Remove(temporary.Name()) // fails once renamed
	_, err = temporary.Write(data)
	err = errors.Join(err, temporary.Sync(), temporary.Close())
	if err != nil {
		return err
	}
	if err := os.Rename(temporary.Name(), path); err != nil {
		return err
	}
	dir, err := os.Open(filepath.Dir(path))
	if err != nil {
		return err
	}
	return errors.Join(dir.Sync(), dir.Close()) // the rename is durable
}
