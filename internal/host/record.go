package host

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/metaextract/pipeline/ci"
)

// record is the result of a step that passed, as it is kept for later runs. It holds no secret: log and reports are
// redacted before they get here.
type record struct {
	Step    string          `json:"step"`
	Passed  time.Time       `json:"passed"`
	Took    time.Duration   `json:"took"`
	Log     []byte          `json:"log,omitempty"`
	Reports []ci.ReportFile `json:"reports,omitempty"`
	Layer   string          `json:"layer,omitempty"` // empty where the step's file system was not kept
}

// load returns the record of a key, or nil. One that cannot be read is as good as none: the step runs again.
func (s *store) load(key string) *record {
	data, err := os.ReadFile(s.recordFile(key))
	if err != nil {
		return nil
	}
	var r record
	if json.Unmarshal(data, &r) != nil {
		return nil
	}
	now := time.Now()
	_ = os.Chtimes(s.recordFile(key), now, now) // pruning goes by last use
	return &r
}

// save keeps a record in place of an older one of the same key. A reader sees the one or the other.
func (s *store) save(key string, r *record) error {
	data, err := json.Marshal(r)
	if err != nil {
		return fmt.Errorf("keep result of %s: %w", r.Step, err)
	}
	file, err := os.CreateTemp(filepath.Join(s.dir, "records"), ".new-")
	if err != nil {
		return explain(fmt.Errorf("keep result of %s: %w", r.Step, err), s.dir)
	}
	_, err = file.Write(data)
	if closed := file.Close(); err == nil {
		err = closed
	}
	if err == nil {
		err = os.Rename(file.Name(), s.recordFile(key))
	}
	if err != nil {
		_ = os.Remove(file.Name())
		return explain(fmt.Errorf("keep result of %s: %w", r.Step, err), s.dir)
	}
	return nil
}

// result is the record as a result of this run.
func (r *record) result(step ci.Step, at time.Time) ci.Result {
	return ci.Result{Step: step, Status: ci.Passed, Cached: true, Started: at, Log: r.Log, Reports: r.Reports}
}
