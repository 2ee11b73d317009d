package backup

import (
	"context"
	"errors"
	"fmt"

	"github.com/jackc/pgerrcode"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/metaextract/pipeline/internal/pg"
)

// Point is a place in a server's write-ahead log by name: where log and a physical backup are kept, a server can be
// recovered up to it (recovery_target_name).
type Point struct {
	Name string `json:"name"`
	LSN  string `json:"lsn"`
}

// ErrNoRestorePoint means that the server does not make restore points, or not for this role. Nothing else suffers from it.
var ErrNoRestorePoint = errors.New("no restore point was made")

// PointName is the restore point's before the migrations that follow a version.
func PointName(version int64) string { return fmt.Sprintf("pre_migration_%d", version) }

// RestorePoint makes a restore point and returns its place. It is made right before what may have to be undone. The
// error is ErrNoRestorePoint where the role may not (it takes a superuser, or EXECUTE on pg_create_restore_point), where
// wal_level is minimal, on a server that follows another, and for a name above 63 bytes.
func RestorePoint(ctx context.Context, conn *pgx.Conn, name string) (lsn string, err error) {
	err = conn.QueryRow(ctx, "SELECT pg_catalog.pg_create_restore_point($1)::text", name).Scan(&lsn)
	if err == nil {
		return lsn, nil
	}
	var refused *pgconn.PgError
	if errors.As(err, &refused) {
		switch refused.Code {
		case pgerrcode.InsufficientPrivilege:
			return "", fmt.Errorf("%w: %s; as a superuser: GRANT EXECUTE ON FUNCTION pg_create_restore_point(text) TO %s",
				ErrNoRestorePoint, refused.Message, pg.Name(conn.Config().User))
		case pgerrcode.ObjectNotInPrerequisiteState, pgerrcode.InvalidParameterValue:
			return "", fmt.Errorf("%w: %s", ErrNoRestorePoint, refused.Message)
		}
	}
	return "", fmt.Errorf("make restore point: %w", pg.Ended(ctx, err))
}
