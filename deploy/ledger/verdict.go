package ledger

import (
	"context"

	"github.com/jackc/pgx/v5"

	"github.com/metaextract/pipeline/deploy"
)

// Verdict is what was found on going back from one release to another. It is computed at every deployment and again when the
// schema or the data changes; the last one counts. Its time is the database's, set when it is written.
type Verdict struct {
	Environment string `json:"environment"`
	deploy.Verdict
	Floor string `json:"floor,omitempty"` // the oldest release that works on the schema, where that is known
}

const verdictColumns = "environment, from_release, to_release, verdict, reasons, floor, computed_at, lost, way"

func (v *Verdict) fields() []any {
	return []any{&v.Environment, &v.From, &v.To, &v.Safety, &v.Reasons, &v.Floor, &v.At, &v.Lost, &v.Way}
}

// record has what would be lost, and the way out, only where there are any: a record has one form.
func (v Verdict) record() Record {
	facts := map[string]string{"from": v.From, "to": v.To, "verdict": string(v.Safety), "reasons": asJSON(v.Reasons), "floor": v.Floor, "computed": stamp(v.At)}
	if len(v.Lost) > 0 {
		facts["lost"] = asJSON(v.Lost)
	}
	if v.Way != "" {
		facts["way"] = v.Way
	}
	return Record{Kind: VerdictRecord, Environment: v.Environment, Facts: facts}
}

// RecordVerdict writes a verdict. It needs no lease: it is an observation, and anybody may make a newer one.
func (l *Ledger) RecordVerdict(ctx context.Context, v Verdict) error {
	request := newRequest()
	reasons := make([]string, len(v.Reasons))
	for i, r := range v.Reasons {
		reasons[i] = clean(r)
	}
	lost := make([]deploy.Loss, len(v.Lost))
	for i, one := range v.Lost {
		lost[i] = deploy.Loss{What: clean(one.What), Rows: one.Rows}
	}
	v.Reasons, v.Lost, v.Way = reasons, lost, clean(v.Way)
	return l.write(ctx, "record verdict", func(ctx context.Context, tx pgx.Tx) error {
		a, done, err := lockAudit(ctx, tx, request)
		if err != nil || done {
			return err
		}
		v.At = a.now
		index, err := a.add(ctx, request, v.record())
		if err != nil {
			return err
		}
		_, err = tx.Exec(ctx, "INSERT INTO pipeline.verdicts ("+verdictColumns+", audit) VALUES ($1, $2, $3, $4, $5::jsonb, $6, $7, $8::jsonb, $9, $10)",
			v.Environment, v.From, v.To, string(v.Safety), asJSON(v.Reasons), v.Floor, v.At, asJSON(v.Lost), v.Way, index)
		return err
	})
}

// verdictOn is the newest verdict, or nil.
func verdictOn(ctx context.Context, tx pgx.Tx, environment, from, to string) (*Verdict, error) {
	rows, err := tx.Query(ctx, "SELECT "+verdictColumns+` FROM pipeline.verdicts WHERE environment = $1 AND from_release = $2 AND to_release = $3
		ORDER BY audit DESC LIMIT 1`, environment, from, to)
	if err != nil {
		return nil, err
	}
	list, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (v Verdict, err error) {
		err = row.Scan(v.fields()...)
		return v, err
	})
	if err != nil || len(list) == 0 {
		return nil, err
	}
	return &list[0], nil
}
