package backfill

import (
	"context"
	"errors"
	"time"

	"github.com/jackc/pgx/v5"
)

// replayLag is the replica that is the furthest behind, and how far. One whose replay stands still is seen, too: the
// column grows as long as the position stays unreplayed. Users without pg_read_all_stats see no replicas; the backfill does
// not wait for them then.
func replayLag(ctx context.Context, conn *pgx.Conn) (replica string, behind time.Duration, err error) {
	var milliseconds int64
	err = conn.QueryRow(ctx, `SELECT coalesce(nullif(application_name, ''), client_addr::text, 'unnamed'), (EXTRACT(epoch FROM replay_lag) * 1000)::bigint
		FROM pg_catalog.pg_stat_replication WHERE replay_lag IS NOT NULL ORDER BY replay_lag DESC LIMIT 1`).Scan(&replica, &milliseconds)
	if errors.Is(err, pgx.ErrNoRows) {
		return "", 0, nil
	}
	return replica, time.Duration(milliseconds) * time.Millisecond, err
}
