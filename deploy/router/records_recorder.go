package router

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"time"

	"github.com/metaextract/pipeline/deploy"
	"github.com/metaextract/pipeline/deploy/canary"
)

// Source has records to read: a Router, or a client of one in another process.
type Source interface {
	// Records is Router.Records: with a ctx whose deadline has passed it returns what there is.
	Records(ctx context.Context, slot deploy.Slot, from Cursor, limit int) (Batch, error)
}

// Recorder hands a source's records to a canary. Its cursor is a Cursor as JSON.
type Recorder struct{ Source Source }

var _ deploy.Recorder = Recorder{}

// rounds bounds what one call reads. They are as many batches as a slot keeps by default; the rest comes with the next call.
const rounds = DefaultRecords/maxBatch + 1

// Records implements deploy.Recorder. Where the stream is another one than the cursor's, as after a restart of the router,
// nobody knows how many records were lost: it says one more than are known to be.
func (r Recorder) Records(ctx context.Context, slot deploy.Slot, after string) (records deploy.Records, err error) {
	var from Cursor
	if after != "" {
		if err := json.Unmarshal([]byte(after), &from); err != nil {
			return records, fmt.Errorf("read the cursor of slot %s: %w", slot, err)
		}
	}
	now, cancel := context.WithDeadline(ctx, time.Unix(0, 0))
	defer cancel()
	for range rounds {
		if ctx.Err() != nil {
			return deploy.Records{}, context.Cause(ctx)
		}
		batch, err := r.Source.Records(now, slot, from, maxBatch)
		if err != nil {
			return deploy.Records{}, err
		}
		lost := batch.Lost
		if batch.Restart {
			lost++
		}
		if lost > 0 { // what follows is later than what was lost, as deploy.Records says
			records.Lost += lost + uint64(len(records.Observations))
			records.Observations = nil
		}
		for i := range batch.Records {
			records.Observations = append(records.Observations, batch.Records[i].observation())
		}
		if batch.Next.Stream != "" { // a source that has nothing yet may have no stream
			from = batch.Next
		}
		if len(batch.Records) < maxBatch {
			break
		}
	}
	next, err := json.Marshal(from)
	records.Next = string(next)
	return records, err
}

// observation is a record as a canary wants it: of what has no end of its own, the latency is that of its beginning.
func (r *Record) observation() canary.Observation {
	latency := r.End
	if r.Streamed {
		latency = r.FirstByte
	}
	return canary.Observation{
		At: r.Time, Cohort: r.Cohort, Route: r.Route, Share: float64(r.Weight) / 100, Outcome: r.outcome(),
		Latency: time.Duration(latency) * time.Microsecond, Pinned: r.By != ByChance,
	}
}

func (r *Record) outcome() canary.Outcome {
	switch {
	case r.Class == ClientAbort:
		return canary.Aborted
	case r.Class == RouterMade && r.Status == http.StatusGatewayTimeout:
		return canary.Timeout
	case r.Class == RouterMade:
		return canary.Gateway
	case r.Class == AppError && r.Status < http.StatusInternalServerError:
		return canary.Truncated
	case r.Class == AppError:
		return canary.AppError
	case r.Status >= http.StatusBadRequest:
		return canary.ClientError
	}
	return canary.OK
}
