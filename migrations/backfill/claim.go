package backfill

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"strings"

	"github.com/metaextract/pipeline/internal/pg"
)

// claim makes the backfill's row ours: a new one, or the one of the run before, from which it reads how far that came. The
// caller is in a transaction.
func (r *run) claim(ctx context.Context) error {
	identity := r.identity()
	down, latest, err := r.taken(ctx)
	if err != nil {
		return err
	}
	_, err = r.conn.Exec(ctx, "INSERT INTO "+r.table.name()+` (version, name, sha256, state, batch, total, history)
		VALUES ($1, $2, $3, 'running', $4, $5, $6) ON CONFLICT (version) DO NOTHING`,
		r.Version, r.Name, identity, r.declared.Batch, r.target.rows, latest)
	if err != nil {
		return fmt.Errorf("begin backfill: %w", pg.Ended(ctx, err))
	}
	var state State
	var known string
	var batches, history int64
	err = r.conn.QueryRow(ctx, "SELECT state, sha256, batches, history FROM "+r.table.name()+" WHERE version = $1 FOR UPDATE", r.Version).
		Scan(&state, &known, &batches, &history)
	if err != nil {
		return fmt.Errorf("begin backfill: %w", pg.Ended(ctx, err))
	}
	again := down > history
	switch {
	case state == Paused:
		return r.paused()
	case !again && known != identity && batches > 0:
		return fmt.Errorf("%s:%d: %w: %d batches of it are done with another text. Put that text back, or begin anew with this one: DELETE FROM %s WHERE version = %d",
			r.declared.File, r.declared.Line, ErrEdited, batches, r.table.name(), r.Version)
	}
	set := "state = 'running', error = NULL, throttled = NULL, name = $2, sha256 = $3, total = $4, history = $5"
	if again || batches == 0 {
		set += `, pass = 1, once = false, position = NULL, position_text = NULL, done = 0, batches = 0, pass_done = 0, pass_seen = 0, rate = 0,
			batch = $6, started_at = pg_catalog.clock_timestamp(), updated_at = pg_catalog.clock_timestamp()`
	} else {
		set += ", batch = least(batch, $6)"
	}
	err = r.conn.QueryRow(ctx, "UPDATE "+r.table.name()+" SET "+set+" WHERE version = $1 RETURNING position, pass_done",
		r.Version, r.Name, identity, r.target.rows, latest, r.declared.Batch).Scan(&r.position, &r.passDone)
	if err != nil {
		return fmt.Errorf("begin backfill: %w", pg.Ended(ctx, err))
	}
	r.progress, err = r.table.get(ctx, r.conn, r.Version)
	return err
}

// taken is the history's last entry, and the last that took back this migration or one below it: what was done before that
// is not there any more. golang-migrate's command line writes no history, but the migrator makes up for it before it calls.
func (r *run) taken(ctx context.Context) (down, latest int64, err error) {
	var there bool
	name := pg.Name(r.Schema, record)
	err = r.conn.QueryRow(ctx, "SELECT pg_catalog.to_regclass($1) IS NOT NULL", name).Scan(&there)
	if err == nil && there {
		err = r.conn.QueryRow(ctx, `SELECT coalesce(pg_catalog.max(id), 0), coalesce(pg_catalog.max(id) FILTER (WHERE version <= $1
			AND direction = 'down' AND status = 'applied'), 0) FROM `+name, r.Version).Scan(&latest, &down)
	}
	if err != nil {
		return 0, 0, fmt.Errorf("read history: %w", pg.Ended(ctx, err))
	}
	return down, latest, nil
}

// identity is the hash of what must not change between two runs: what a batch does, and what a position means.
func (r *run) identity() string {
	sum := sha256.Sum256([]byte(strings.Join([]string{r.target.name, r.target.key, r.target.position.sql, r.Script.SQL(0)}, "\x00")))
	return hex.EncodeToString(sum[:])
}

func (r *run) paused() error {
	return fmt.Errorf("%s: %w; resume it, then run again: it goes on behind the last batch", r.Script.File, ErrPaused)
}
