package ledger

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/jackc/pgx/v5"
	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

// Checkpoint says what the audit log was when it had so many records.
type Checkpoint struct {
	Ledger string // its ID
	tlog.Tree
}

// origin is the first line of a checkpoint's text.
const origin = "pipeline-ledger/"

// text is the body of a checkpoint (c2sp.org/tlog-checkpoint): origin, size, root, each on a line.
func (c Checkpoint) text() string {
	return fmt.Sprintf("%s%s\n%d\n%s\n", origin, c.Ledger, c.N, c.Hash)
}

func parseCheckpoint(text string) (c Checkpoint, err error) {
	lines := strings.Split(text, "\n")
	if len(lines) == 4 && strings.HasPrefix(lines[0], origin) {
		c.Ledger = strings.TrimPrefix(lines[0], origin)
		c.N, err = strconv.ParseInt(lines[1], 10, 64)
		if err == nil {
			c.Hash, err = tlog.ParseHash(lines[2])
		}
	}
	if err != nil || c.N < 1 || c.text() != text {
		return Checkpoint{}, errors.New("read checkpoint: it is not one of a ledger")
	}
	return c, nil
}

// OpenCheckpoint reads a signed checkpoint and checks that one of the trusted keys has signed it.
func OpenCheckpoint(signed string, trusted note.Verifiers) (Checkpoint, error) {
	n, err := note.Open([]byte(signed), trusted)
	if err != nil {
		return Checkpoint{}, fmt.Errorf("open checkpoint: %w", err)
	}
	return parseCheckpoint(n.Text)
}

// Sign makes a signed checkpoint of the audit log as it is, keeps it, and returns it to be shown outside (a chat, a git tag):
// only one that is known elsewhere shows that the database was rolled back together with its checkpoints. An empty log has
// none.
func (l *Ledger) Sign(ctx context.Context, signer note.Signer) (signed string, err error) {
	err = l.write(ctx, "sign checkpoint", func(ctx context.Context, tx pgx.Tx) error {
		var size int64
		if err := tx.QueryRow(ctx, "SELECT coalesce(max(index) + 1, 0) FROM pipeline.audit_records").Scan(&size); err != nil {
			return err
		}
		if signed, err = l.checkpoint(ctx, tx, signer, size); err != nil {
			return err
		}
		_, err = tx.Exec(ctx, "INSERT INTO pipeline.audit_checkpoints (size, note) VALUES ($1, $2) ON CONFLICT DO NOTHING", size, signed)
		return err
	})
	return signed, err
}

// checkpoint signs the first records of the log.
func (l *Ledger) checkpoint(ctx context.Context, tx pgx.Tx, signer note.Signer, size int64) (string, error) {
	if size == 0 {
		return "", deny("the audit log is empty")
	}
	root, err := tlog.TreeHash(size, hashReader(ctx, tx))
	if err != nil {
		return "", err
	}
	signed, err := note.Sign(&note.Note{Text: Checkpoint{Ledger: l.id, Tree: tlog.Tree{N: size, Hash: root}}.text()}, signer)
	if err != nil {
		return "", refused{err}
	}
	return string(signed), nil
}

// Inclusion proves that a record is in the log of a size: tlog.CheckRecord(proof, size, root, index, tlog.RecordHash(record)),
// with the root of a checkpoint.
func (l *Ledger) Inclusion(ctx context.Context, size, index int64) (record []byte, proof tlog.RecordProof, err error) {
	err = l.read(ctx, "prove inclusion", func(ctx context.Context, tx pgx.Tx) error {
		err := tx.QueryRow(ctx, "SELECT convert_to(record, 'UTF8') FROM pipeline.audit_records WHERE index = $1", index).Scan(&record)
		if errors.Is(err, pgx.ErrNoRows) || index >= size {
			return deny("there is no record %d among the first %d", index, size)
		}
		if err != nil {
			return err
		}
		proof, err = tlog.ProveRecord(size, index, hashReader(ctx, tx))
		return err
	})
	return record, proof, err
}

// Consistency proves that the log of the larger size begins with that of the smaller: tlog.CheckTree(proof, larger, its root,
// smaller, its root).
func (l *Ledger) Consistency(ctx context.Context, larger, smaller int64) (proof tlog.TreeProof, err error) {
	err = l.read(ctx, "prove consistency", func(ctx context.Context, tx pgx.Tx) error {
		if smaller < 1 || smaller > larger {
			return deny("a log of %d records cannot begin with one of %d", larger, smaller)
		}
		proof, err = tlog.ProveTree(larger, smaller, hashReader(ctx, tx))
		return err
	})
	return proof, err
}
