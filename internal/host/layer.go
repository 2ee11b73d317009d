package host

import (
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"
)

// completeMarker is a file that a layer has once its step has passed. A layer without it that nobody uses is what a
// killed run left.
const completeMarker = "complete"

// layer is the file system of a step: the source root and the home directory, as they were when the step ended.
//
// A layer is at its final path from the beginning, since virtual environments and some node modules remember where they
// are. Its name is new each time, so that making a key anew does not disturb a run that uses the older layer. Whoever
// uses a layer holds its lock: exclusively while making it, shared with others afterwards.
type layer struct {
	store *store
	name  string
	dir   string
	lock  *fileLock
}

// layerInfo is the content of the marker, for pruning and for people.
type layerInfo struct {
	Step string    `json:"step"`
	Key  string    `json:"key"`
	Made time.Time `json:"made"`
}

// newLayer makes an empty layer, locked.
func (s *store) newLayer(key string) (*layer, error) {
	for {
		var random [4]byte
		_, _ = rand.Read(random[:]) // never fails
		// Short, since programs put sockets and shebang lines there, and both have limits.
		name := key[:8] + hex.EncodeToString(random[:])
		lock, err := tryLock(s.lockFile(name), true)
		if errors.Is(err, errLocked) {
			continue
		}
		if err != nil {
			return nil, explain(fmt.Errorf("make layer: %w", err), s.dir)
		}
		l := &layer{store: s, name: name, dir: s.layerDir(name), lock: lock}
		if err = os.Mkdir(l.dir, 0o700); errors.Is(err, fs.ErrExist) {
			lock.unlock()
			continue
		}
		if err == nil {
			err = os.Mkdir(l.tree(), 0o755)
		}
		if err == nil {
			err = os.Mkdir(l.home(), 0o700)
		}
		if err != nil {
			l.remove()
			return nil, explain(fmt.Errorf("make layer: %w", err), s.dir)
		}
		return l, nil
	}
}

// openLayer takes a complete layer into use. It gives nil where the layer is gone, incomplete or being removed.
func (s *store) openLayer(name string) *layer {
	if name == "" {
		return nil
	}
	if _, err := os.Stat(s.layerDir(name)); err != nil {
		return nil // before a lock file is made for nothing
	}
	lock, err := tryLock(s.lockFile(name), false)
	if err != nil {
		return nil
	}
	l := &layer{store: s, name: name, dir: s.layerDir(name), lock: lock}
	if _, err := os.Stat(filepath.Join(l.dir, completeMarker)); err != nil {
		lock.unlock()
		return nil
	}
	now := time.Now()
	_ = os.Chtimes(filepath.Join(l.dir, completeMarker), now, now) // pruning goes by last use
	return l
}

// tree is the layer's copy of the source root.
func (l *layer) tree() string { return filepath.Join(l.dir, "tree") }

// home is the layer's home directory.
func (l *layer) home() string { return filepath.Join(l.dir, "home") }

// complete marks the layer as one that later runs may use, and shares it with them.
func (l *layer) complete(step, key string) error {
	data, err := json.Marshal(layerInfo{Step: step, Key: key, Made: time.Now()})
	if err == nil {
		err = os.WriteFile(filepath.Join(l.dir, completeMarker), data, 0o600)
	}
	if err == nil {
		err = l.lock.share()
	}
	if err != nil {
		return explain(fmt.Errorf("keep layer: %w", err), l.store.dir)
	}
	return nil
}

// forget takes the mark away: users may go on, later runs do not find it.
func (l *layer) forget() { _ = os.Remove(filepath.Join(l.dir, completeMarker)) }

// release ends the use of the layer. One that is not complete is removed.
func (l *layer) release() {
	if _, err := os.Stat(filepath.Join(l.dir, completeMarker)); err == nil {
		l.lock.unlock()
		return
	}
	l.lock.unlock()
	l.store.removeLayer(l.name)
}

// remove removes a layer that this run made and has not shared.
func (l *layer) remove() {
	removeTree(l.dir)
	l.lock.remove()
}

// removeLayer removes a layer, unless a run uses it.
func (s *store) removeLayer(name string) bool {
	lock, err := tryLock(s.lockFile(name), true)
	if err != nil {
		return false
	}
	removeTree(s.layerDir(name))
	lock.remove()
	return true
}
