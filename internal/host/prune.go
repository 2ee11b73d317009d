package host

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"time"
)

// Retention bounds what the cache keeps of steps. The tools' own caches are not bounded: the tools do that.
type Retention struct {
	Age   time.Duration // since a layer or a result was last used
	Count int           // layers of one step, the last used ones
}

// DefaultRetention keeps twenty layers of each step for two weeks: that many branches or dependency updates apart.
var DefaultRetention = Retention{Age: 14 * 24 * time.Hour, Count: 20}

// abandoned is the age from which a temporary file of the cache belongs to nobody.
const abandoned = time.Hour

// Pruned is what a Prune removed.
type Pruned struct {
	Layers  int
	Results int
}

// Prune removes what is older or more than the retention allows from a cache directory, empty for the default one, and
// what killed runs left. What a run uses is never removed. It may be called while others run.
func Prune(cacheDir string, retention Retention) (Pruned, error) {
	store, err := openStore(cacheDir)
	if err != nil {
		return Pruned{}, err
	}
	sweepScratch(os.TempDir())
	return store.prune(retention)
}

func (s *store) prune(retention Retention) (Pruned, error) {
	var pruned Pruned
	names, err := os.ReadDir(filepath.Join(s.dir, "layers"))
	if err != nil {
		return pruned, fmt.Errorf("prune cache: %w", err)
	}
	oldest := time.Now().Add(-retention.Age)
	type used struct {
		name string
		at   time.Time
	}
	bySteps := map[string][]used{}
	for _, n := range names {
		info, at, err := s.layerInfo(n.Name())
		switch {
		case errors.Is(err, fs.ErrNotExist), err == nil && at.Before(oldest):
			if s.removeLayer(n.Name()) {
				pruned.Layers++
			}
		case err == nil:
			bySteps[info.Step] = append(bySteps[info.Step], used{n.Name(), at})
		}
	}
	for _, layers := range bySteps {
		slices.SortFunc(layers, func(a, b used) int { return b.at.Compare(a.at) })
		for _, l := range layers[min(retention.Count, len(layers)):] {
			if s.removeLayer(l.name) {
				pruned.Layers++
			}
		}
	}
	pruned.Results = s.pruneRecords(oldest)
	s.pruneLocks()
	return pruned, nil
}

// layerInfo reads a layer's marker and when it was last used. The error is fs.ErrNotExist where there is no marker.
func (s *store) layerInfo(name string) (layerInfo, time.Time, error) {
	marker := filepath.Join(s.layerDir(name), completeMarker)
	info, err := os.Stat(marker)
	if err != nil {
		return layerInfo{}, time.Time{}, err
	}
	data, err := os.ReadFile(marker)
	var li layerInfo
	if err == nil {
		err = json.Unmarshal(data, &li)
	}
	return li, info.ModTime(), err
}

// pruneRecords removes old results, and temporary files of runs that were killed while writing one.
func (s *store) pruneRecords(oldest time.Time) (removed int) {
	entries, _ := os.ReadDir(filepath.Join(s.dir, "records"))
	for _, e := range entries {
		info, err := e.Info()
		if err != nil {
			continue
		}
		temporary := e.Name()[0] == '.' && time.Since(info.ModTime()) > abandoned
		if (temporary || info.ModTime().Before(oldest)) && os.Remove(s.recordFile(e.Name())) == nil && !temporary {
			removed++
		}
	}
	return removed
}

// pruneLocks removes lock files that lock nothing.
func (s *store) pruneLocks() {
	entries, _ := os.ReadDir(filepath.Join(s.dir, "locks"))
	for _, e := range entries {
		if _, err := os.Lstat(s.layerDir(e.Name())); err == nil {
			continue
		}
		if lock, err := tryLock(s.lockFile(e.Name()), true); err == nil {
			lock.remove()
		}
	}
}

// supersede has a layer removed that a newer one of the same key replaces: now, or when its last user is done.
func (s *store) supersede(name string) {
	if name == "" {
		return
	}
	_ = os.Remove(filepath.Join(s.layerDir(name), completeMarker))
	s.removeLayer(name)
}
