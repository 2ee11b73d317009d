package migrations

import (
	"fmt"
	"strings"

	"github.com/metaextract/pipeline/migrations/adopt"
)

// foreign is ErrForeign when another tool has migrated the database and we have not: applying the folder from the start
// would run everything again, and fail at the first CREATE TABLE at best.
func (d *driver) foreign() (refusal, err error) {
	plan, err := adopt.Look(d.ctx, d.conn, d.options.FS, d.options.Folder, nil)
	if err != nil {
		return nil, err
	}
	var tables []string
	for _, e := range plan.Evidence {
		if e.Rows > 0 {
			tables = append(tables, fmt.Sprintf("%s, where %s lists %d", e.Table, e.Runner, e.Rows))
		}
	}
	if len(tables) == 0 {
		return nil, nil
	}
	return fmt.Errorf("there is no version in %s, but other migrations in %s: %w; they are not run again. pipeline migrate adopt shows what they prove and changes nothing; pipeline migrate adopt --write takes over",
		d.tables.VersionName(), strings.Join(tables, "; "), ErrForeign), nil
}
