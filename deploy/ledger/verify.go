package ledger

import (
	"context"
	"fmt"
	"slices"

	"github.com/jackc/pgx/v5"
	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

// TamperError means that the audit log is not what was written. The first record that is wrong is one from First to Last; they are the
// same where the log itself tells, and not where records and their hashes were changed together and only a checkpoint differs.
type TamperError struct {
	First, Last int64
	What        string
}

func (e *TamperError) Error() string {
	if e.First >= e.Last {
		return fmt.Sprintf("the audit log was tampered with: record %d: %s", e.First, e.What)
	}
	return fmt.Sprintf("the audit log was tampered with: the first wrong record is one of %d to %d: %s", e.First, e.Last, e.What)
}
func (*TamperError) refused() {}

// Verified is what is known of a log after its verification.
type Verified struct {
	Ledger string    `json:"ledger"`
	Size   int64     `json:"size"` // records
	Root   tlog.Hash `json:"root"`
	// Signed is the size of the largest checkpoint that holds: records after it could have been exchanged all together.
	Signed int64 `json:"signed"`
}

// verification reads a log from its beginning.
type verification struct {
	frontier frontier
	ledger   string
	signed   []Checkpoint // ascending
	held     int64        // size of the last checkpoint that held
}

// newVerification takes the checkpoints that the log must agree with. All must be signed by a trusted key.
func newVerification(ledger string, trusted note.Verifiers, kept, seen []string) (*verification, error) {
	v := &verification{ledger: ledger}
	for i, signed := range slices.Concat(kept, seen) {
		c, err := OpenCheckpoint(signed, trusted)
		if err != nil {
			where := "a checkpoint kept with the log"
			if i >= len(kept) {
				where = "a checkpoint seen before"
			}
			return nil, deny("%s: %w", where, err)
		}
		if c.Ledger != ledger {
			return nil, &TamperError{What: fmt.Sprintf("the checkpoint of %d records is of ledger %s, and this is %s: another database, or one that was made anew", c.N, c.Ledger, ledger)}
		}
		v.signed = append(v.signed, c)
	}
	slices.SortStableFunc(v.signed, func(a, b Checkpoint) int { return int(a.N - b.N) })
	return v, nil
}

// next checks the record that comes next and returns it with the hashes that are stored for it.
func (v *verification) next(text []byte) (Record, []tlog.Hash, error) {
	index := v.frontier.size
	wrong := func(format string, args ...any) error {
		return &TamperError{First: index, Last: index, What: fmt.Sprintf(format, args...)}
	}
	r, err := ParseRecord(text)
	if err != nil {
		return r, nil, wrong("%v", err)
	}
	if r.Index != index {
		return r, nil, wrong("record %d is in its place", r.Index)
	}
	hashes := v.frontier.add(tlog.RecordHash(text))
	for len(v.signed) > 0 && v.signed[0].N == v.frontier.size {
		if v.signed[0].Hash != v.frontier.root() {
			return r, nil, &TamperError{First: v.held, Last: index, What: fmt.Sprintf("the first %d records are not those that the checkpoint was signed for", v.frontier.size)}
		}
		v.held, v.signed = v.frontier.size, v.signed[1:]
	}
	return r, hashes, nil
}

// end checks that nothing is missing at the end.
func (v *verification) end() (Verified, error) {
	result := Verified{Ledger: v.ledger, Size: v.frontier.size, Root: v.frontier.root(), Signed: v.held}
	if len(v.signed) > 0 {
		most := v.signed[len(v.signed)-1].N
		return result, &TamperError{First: result.Size, Last: result.Size,
			What: fmt.Sprintf("the log ends here, but a checkpoint was signed for %d records: its end was cut off, or the database rolled back", most)}
	}
	return result, nil
}

// batch is how many records are read at once.
const batch = 1000

// Verify checks the whole audit log: every record against the tree, the tree against the checkpoints kept in the database and
// those seen before, and the tables that were written together with records against these. What it finds is a *TamperError.
// seen are signed checkpoints that were kept elsewhere; without them a log whose end was cut off together with its
// checkpoints passes.
func (l *Ledger) Verify(ctx context.Context, trusted note.Verifiers, seen ...string) (result Verified, err error) {
	err = l.readLong(ctx, "verify audit log", func(ctx context.Context, tx pgx.Tx) error {
		result, err = l.verify(ctx, tx, trusted, seen)
		return err
	})
	return result, err
}

func (l *Ledger) verify(ctx context.Context, tx pgx.Tx, trusted note.Verifiers, seen []string) (result Verified, err error) {
	kept, err := keptCheckpoints(ctx, tx)
	if err != nil {
		return result, err
	}
	v, err := newVerification(l.id, trusted, kept, seen)
	if err != nil {
		return result, err
	}
	written := counts{}
	err = eachRecord(ctx, tx, func(index int64, texts [][]byte) error {
		return v.batch(ctx, tx, index, texts, written)
	})
	if err != nil {
		return result, err
	}
	if result, err = v.end(); err != nil {
		return result, err
	}
	return result, checkRest(ctx, tx, result.Size, written)
}

// batch checks records that follow each other, the hashes stored for them and their rows.
func (v *verification) batch(ctx context.Context, tx pgx.Tx, index int64, texts [][]byte, written counts) error {
	end := index + int64(len(texts))
	rows, err := tx.Query(ctx, "SELECT index, hash FROM pipeline.audit_hashes WHERE index >= $1 AND index < $2",
		tlog.StoredHashIndex(0, index), tlog.StoredHashIndex(0, end))
	if err != nil {
		return err
	}
	stored := map[int64][]byte{}
	var at int64
	var hash []byte
	if _, err := pgx.ForEachRow(rows, []any{&at, &hash}, func() error { stored[at] = slices.Clone(hash); return nil }); err != nil {
		return err
	}
	tables, err := readTables(ctx, tx, index, end)
	if err != nil {
		return err
	}
	for i, text := range texts {
		n := index + int64(i)
		if text == nil {
			return &TamperError{First: n, Last: n, What: "it is missing"}
		}
		// The stored hashes first: they name the record, where a checkpoint only bounds it.
		leaf := tlog.RecordHash(text)
		if found := stored[tlog.StoredHashIndex(0, n)]; !slices.Equal(found, leaf[:]) {
			return &TamperError{First: n, Last: n, What: "it is not what its hash was made of"}
		}
		record, hashes, err := v.next(text)
		if err != nil {
			return err
		}
		for level, h := range hashes {
			if found := stored[tlog.StoredHashIndex(0, n)+int64(level)]; !slices.Equal(found, h[:]) {
				return &TamperError{First: n, Last: n, What: fmt.Sprintf("the hash of the %d records that end with it is not theirs", int64(1)<<level)}
			}
		}
		written[record.Kind]++
		if err := tables.check(record); err != nil {
			return err
		}
	}
	return nil
}

// eachRecord reads the log in batches, in order; a record that is missing before the last is nil.
func eachRecord(ctx context.Context, tx pgx.Tx, do func(index int64, texts [][]byte) error) error {
	var size int64
	if err := tx.QueryRow(ctx, "SELECT coalesce(max(index) + 1, 0) FROM pipeline.audit_records").Scan(&size); err != nil {
		return err
	}
	for from := int64(0); from < size; from += batch {
		texts := make([][]byte, min(batch, size-from))
		rows, err := tx.Query(ctx, "SELECT index, convert_to(record, 'UTF8') FROM pipeline.audit_records WHERE index >= $1 AND index < $2", from, from+batch)
		if err != nil {
			return err
		}
		var index int64
		var text []byte
		if _, err := pgx.ForEachRow(rows, []any{&index, &text}, func() error { texts[index-from] = slices.Clone(text); return nil }); err != nil {
			return err
		}
		if err := do(from, texts); err != nil {
			return err
		}
	}
	return nil
}

func keptCheckpoints(ctx context.Context, tx pgx.Tx) ([]string, error) {
	rows, err := tx.Query(ctx, "SELECT note FROM pipeline.audit_checkpoints ORDER BY size, note")
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, pgx.RowTo[string])
}

// readLong is read for what takes as long as the log is long.
func (l *Ledger) readLong(ctx context.Context, what string, do func(context.Context, pgx.Tx) error) error {
	err := pgx.BeginTxFunc(ctx, l.pool, pgx.TxOptions{BeginQuery: look}, func(tx pgx.Tx) error { return do(ctx, tx) })
	if err != nil {
		return fmt.Errorf("%s: %w", what, err)
	}
	return nil
}
