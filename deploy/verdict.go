package deploy

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/metaextract/pipeline/migrations/history"
)

// Safety is whether a rollback may be done.
type Safety string

// The verdicts on a rollback.
const (
	Safe         Safety = "SAFE"
	SafeWithLoss Safety = "SAFE-WITH-LOSS" // rows are there that only the newer release understands
	Unsafe       Safety = "UNSAFE"         // the older release does not work on the schema, or that could not be found out
)

// Loss is what would be of no use after a rollback.
type Loss struct {
	What string `json:"what"` // for people: "rows of orders with kind = 'subscription'"
	Rows int64  `json:"rows"`
}

// Losses counts what only the code of a newer release understands.
type Losses interface {
	Losses(ctx context.Context, from, to string) ([]Loss, error)
}

// Verdict is what a rollback from one release to another would do to the data, now.
type Verdict struct {
	From    string    `json:"from"`
	To      string    `json:"to"`
	Safety  Safety    `json:"safety"`
	Reasons []string  `json:"reasons"`
	Lost    []Loss    `json:"lost,omitempty"`
	Way     string    `json:"way,omitempty"` // what to do instead, where it is UNSAFE
	At      time.Time `json:"at"`

	cause error // of UNSAFE
}

// excluded says whether the schema is known to exclude the older release.
func (v Verdict) excluded() bool { return errors.Is(v.cause, history.ErrBelowFloor) }

// String is the verdict in one line.
func (v Verdict) String() string {
	text := fmt.Sprintf("going back from %s to %s is %s: %s", v.From, v.To, v.Safety, strings.Join(v.Reasons, "; "))
	if v.Way != "" {
		text += "; " + v.Way
	}
	return text
}

// verdictBound is how long the questions behind a verdict may take: somebody waits to roll back.
const verdictBound = 20 * time.Second

// quickBound is how long an automatic way back waits to hear whether the schema allows it: users are on a bad release.
const quickBound = 2 * time.Second

// quickVerdict asks about the way back without counting what would be lost.
func (d *Deployment) quickVerdict(ctx context.Context) Verdict {
	ctx, cancel := context.WithTimeout(ctx, quickBound)
	defer cancel()
	quick := Deployment{Database: d.Database, Now: d.Now}
	return quick.Verdict(ctx, d.way.release.Version, d.way.from.Release.Version)
}

// Verdict asks the database about a rollback. What cannot be found out makes it UNSAFE, or SAFE-WITH-LOSS where only the
// rows could not be counted.
func (d *Deployment) Verdict(ctx context.Context, from, to string) Verdict {
	v := Verdict{From: from, To: to, Safety: Safe, At: d.now()}
	if d.Database == nil {
		v.Reasons = []string{"the application has no database"}
		return v
	}
	ctx, cancel := context.WithTimeout(ctx, verdictBound)
	defer cancel()
	if err := d.Database.Allows(ctx, to); err != nil {
		v.Safety, v.cause = Unsafe, err
		v.Reasons = []string{err.Error()}
		v.Way = "repair it with a newer release instead"
		if !v.excluded() {
			v.Way = "make the database answer, then ask again"
		}
		return v
	}
	v.Reasons = []string{to + " works on the schema as it is"}
	if d.Losses == nil {
		return v
	}
	lost, err := d.Losses.Losses(ctx, from, to)
	if err != nil {
		v.Safety, v.Reasons = SafeWithLoss, append(v.Reasons, fmt.Sprintf("what would be lost could not be counted: %v", err))
		return v
	}
	for _, l := range lost {
		if l.Rows > 0 {
			v.Safety, v.Lost = SafeWithLoss, append(v.Lost, l)
			v.Reasons = append(v.Reasons, fmt.Sprintf("%s does not understand %d %s", to, l.Rows, l.What))
		}
	}
	return v
}

// judge computes the verdict on the way back while nobody waits for it, and tells it.
func (d *Deployment) judge(ctx context.Context, w way) {
	if w.from.Slot == "" || w.back || d.Releases == nil && d.Progress == nil {
		return
	}
	d.judged(ctx, d.Verdict(ctx, w.release.Version, w.from.Release.Version))
}

// judged tells a verdict. That it is not remembered stops nothing.
func (d *Deployment) judged(ctx context.Context, v Verdict) {
	d.tell(Event{Kind: VerdictEvent, Release: v.To, Detail: v.String(), Verdict: &v})
	if d.Releases == nil {
		return
	}
	if err := d.Releases.Judged(ctx, v); err != nil {
		d.tell(Event{Kind: WarningEvent, Detail: fmt.Sprintf("remember the verdict on a rollback: %v", err)})
	}
}
