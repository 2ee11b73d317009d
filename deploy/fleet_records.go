package deploy

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/metaextract/pipeline/deploy/canary"
)

var _ Recorder = (*Fleet)(nil)

// Records are those of all hosts, in the order of time; the cursor has one for each. A user whom the balancer sends to
// several hosts is one only if their splitters draw with one salt.
func (f *Fleet) Records(ctx context.Context, slot Slot, after string) (all Records, err error) {
	cursors := map[string]string{}
	if after != "" {
		if err := json.Unmarshal([]byte(after), &cursors); err != nil {
			return all, fmt.Errorf("read the fleet's cursor: %w", err)
		}
	}
	var mu sync.Mutex
	var since time.Time // what one host lost is left out of all
	errs := f.each(f.Hosts, func(h Host) error {
		if h.Recorder == nil {
			return errors.New("nobody records its requests")
		}
		mu.Lock()
		cursor := cursors[h.Name]
		mu.Unlock()
		records, err := h.Recorder.Records(ctx, slot, cursor)
		if err != nil {
			return err
		}
		mu.Lock()
		defer mu.Unlock()
		cursors[h.Name] = records.Next
		if all.Lost += records.Lost; records.Lost > 0 && len(records.Observations) > 0 {
			since = later(since, records.Observations[0].At)
		}
		all.Observations = append(all.Observations, records.Observations...)
		return nil
	})
	if err := f.tolerate(errs); err != nil {
		return Records{}, err
	}
	slices.SortStableFunc(all.Observations, func(a, b canary.Observation) int { return a.At.Compare(b.At) })
	all.Observations = slices.DeleteFunc(all.Observations, func(o canary.Observation) bool { return o.At.Before(since) })
	next, err := json.Marshal(cursors)
	all.Next = string(next)
	return all, err
}
