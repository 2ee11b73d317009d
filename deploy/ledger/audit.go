package ledger

import (
	"context"
	"crypto/rand"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"golang.org/x/mod/sumdb/tlog"
)

// appendix is the end of the audit log, held by one transaction: appends of all deployments are one after the other, and so is
// whatever is written together with a record.
type appendix struct {
	tx   pgx.Tx
	size int64
	now  time.Time
}

// lockAudit takes the end of the log until the transaction ends. It must be the first lock that a transaction takes. done says
// that a request was written already, by an attempt whose answer got lost.
func lockAudit(ctx context.Context, tx pgx.Tx, request string) (a *appendix, done bool, err error) {
	if _, err := tx.Exec(ctx, "SELECT pg_advisory_xact_lock($1)", auditKey); err != nil {
		return nil, false, err
	}
	a = &appendix{tx: tx}
	err = tx.QueryRow(ctx, `SELECT coalesce(max(index) + 1, 0), clock_timestamp(), EXISTS (SELECT FROM pipeline.audit_records WHERE request = $1)
		FROM pipeline.audit_records`, request).Scan(&a.size, &a.now, &done)
	return a, done, err
}

// add appends a record at the time of the appendix, and returns its index.
func (a *appendix) add(ctx context.Context, request string, r Record) (int64, error) {
	r.Index, r.At = a.size, a.now
	text, err := r.encode()
	if err != nil {
		return 0, refused{err}
	}
	hashes, err := tlog.StoredHashes(r.Index, text, hashReader(ctx, a.tx))
	if err != nil {
		return 0, fmt.Errorf("append to audit log: %w", err)
	}
	rows := make([][]byte, len(hashes))
	for i, h := range hashes {
		rows[i] = h[:]
	}
	if _, err := a.tx.Exec(ctx, "INSERT INTO pipeline.audit_records (index, record, request) VALUES ($1, $2, $3)", r.Index, string(text), request); err != nil {
		return 0, fmt.Errorf("append to audit log: %w", err)
	}
	tag, err := a.tx.Exec(ctx, `INSERT INTO pipeline.audit_hashes (index, hash) SELECT $1::bigint + n - 1, h FROM unnest($2::bytea[]) WITH ORDINALITY u (h, n)
		ON CONFLICT DO NOTHING`, tlog.StoredHashIndex(0, r.Index), rows)
	if err != nil {
		return 0, fmt.Errorf("append to audit log: %w", err)
	}
	if tag.RowsAffected() != int64(len(rows)) {
		return 0, &TamperError{First: r.Index, Last: r.Index, What: "there are hashes of it, but it is gone: nothing is written after it"}
	}
	a.size++
	return r.Index, nil
}

// hashReader reads stored hashes. One that is missing is a refusal: the log has been tampered with.
func hashReader(ctx context.Context, tx pgx.Tx) tlog.HashReader {
	return tlog.HashReaderFunc(func(indexes []int64) ([]tlog.Hash, error) {
		if len(indexes) == 0 {
			return nil, nil
		}
		rows, err := tx.Query(ctx, `SELECT u.i, a.hash FROM unnest($1::bigint[]) WITH ORDINALITY u (i, n)
			LEFT JOIN pipeline.audit_hashes a ON a.index = u.i ORDER BY u.n`, indexes)
		if err != nil {
			return nil, err
		}
		var hashes []tlog.Hash
		var index int64
		var hash []byte
		_, err = pgx.ForEachRow(rows, []any{&index, &hash}, func() error {
			if len(hash) != tlog.HashSize {
				_, record := tlog.SplitStoredHashIndex(index)
				return &TamperError{First: record, Last: record, What: "a hash of the tree is missing"}
			}
			hashes = append(hashes, tlog.Hash(hash))
			return nil
		})
		return hashes, err
	})
}

// newRequest names one write, so that trying it again does it once.
func newRequest() string { return rand.Text() }

// KeyChange is what happened to a key that signs checkpoints.
type KeyChange string

// The changes.
const (
	KeyAdded   KeyChange = "added"
	KeyRetired KeyChange = "retired"
)

// RecordKey writes into the audit log that a key was added or retired. It is the verifier's key, as note.GenerateKey returns
// it; the signer's is never here.
func (l *Ledger) RecordKey(ctx context.Context, by string, change KeyChange, verifier string) error {
	request := newRequest()
	return l.write(ctx, "record key", func(ctx context.Context, tx pgx.Tx) error {
		a, done, err := lockAudit(ctx, tx, request)
		if err != nil || done {
			return err
		}
		_, err = a.add(ctx, request, Record{Kind: KeyRecord, Actor: clean(by), Facts: map[string]string{"change": string(change), "key": clean(verifier)}})
		return err
	})
}
