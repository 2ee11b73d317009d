package ledger

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"

	"github.com/jackc/pgx/v5"
	"golang.org/x/mod/sumdb/note"
)

// exportFormat names the form of an export.
const exportFormat = "pipeline-audit-1"

// longestLine bounds a line of an export.
const longestLine = 16 << 20

// exportHead is the first line of an export. The records follow, each on a line, in their one form.
type exportHead struct {
	Format      string   `json:"format"`
	Ledger      string   `json:"ledger"`
	Size        int64    `json:"size"`
	Checkpoints []string `json:"checkpoints"` // signed, all that there are
}

// Export writes the audit log as JSON lines, to be verified without the database by VerifyExport. With a signer the last
// checkpoint covers all of it.
func (l *Ledger) Export(ctx context.Context, w io.Writer, signer note.Signer) error {
	out := bufio.NewWriter(w)
	err := l.readLong(ctx, "export audit log", func(ctx context.Context, tx pgx.Tx) error {
		head := exportHead{Format: exportFormat, Ledger: l.id}
		err := tx.QueryRow(ctx, "SELECT coalesce(max(index) + 1, 0) FROM pipeline.audit_records").Scan(&head.Size)
		if err != nil {
			return err
		}
		if head.Checkpoints, err = keptCheckpoints(ctx, tx); err != nil {
			return err
		}
		if signer != nil && head.Size > 0 {
			signed, err := l.checkpoint(ctx, tx, signer, head.Size)
			if err != nil {
				return err
			}
			head.Checkpoints = append(head.Checkpoints, signed)
		}
		if err := json.NewEncoder(out).Encode(head); err != nil {
			return err
		}
		return eachRecord(ctx, tx, func(index int64, texts [][]byte) error {
			for i, text := range texts {
				if text == nil {
					return &TamperError{First: index + int64(i), Last: index + int64(i), What: "it is missing"}
				}
				if _, err := out.Write(append(text, '\n')); err != nil {
					return err
				}
			}
			return nil
		})
	})
	if err != nil {
		return err
	}
	if err := out.Flush(); err != nil {
		return fmt.Errorf("export audit log: %w", err)
	}
	return nil
}

// VerifyExport checks an export as Verify does the database, and needs none. What it finds is a *TamperError, or an error that
// says on which line what cannot be read. seen are signed checkpoints that were kept elsewhere.
func VerifyExport(r io.Reader, trusted note.Verifiers, seen ...string) (Verified, error) {
	lines := bufio.NewScanner(r)
	lines.Buffer(nil, longestLine)
	var head exportHead
	if !lines.Scan() {
		return Verified{}, errors.Join(errors.New("verify export: it is empty"), lines.Err())
	}
	d := json.NewDecoder(bytes.NewReader(lines.Bytes()))
	d.DisallowUnknownFields()
	if err := d.Decode(&head); err != nil || head.Format != exportFormat || d.More() {
		return Verified{}, fmt.Errorf("verify export: line 1 is not the head of one of the form %s", exportFormat)
	}
	v, err := newVerification(head.Ledger, trusted, head.Checkpoints, seen)
	if err != nil {
		return Verified{}, fmt.Errorf("verify export: %w", err)
	}
	line := 2
	for ; lines.Scan(); line++ {
		if _, _, err := v.next(lines.Bytes()); err != nil {
			return Verified{}, fmt.Errorf("verify export: line %d: %w", line, err)
		}
	}
	if err := lines.Err(); err != nil {
		return Verified{}, fmt.Errorf("verify export: line %d: %w", line, err)
	}
	result, err := v.end()
	if err == nil && result.Size != head.Size {
		err = &TamperError{First: result.Size, Last: result.Size, What: fmt.Sprintf("the export ends here, but its head says %d records", head.Size)}
	}
	if err != nil {
		return result, fmt.Errorf("verify export: %w", err)
	}
	return result, nil
}
