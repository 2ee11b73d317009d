package integrity

import (
	"context"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/metaextract/pipeline/internal/pg"
	"github.com/metaextract/pipeline/migrations/finding"
)

// indexes finds those that are not valid and that nobody is building. The one on a partitioned table is valid when every
// partition has its own.
func (c *check) indexes(ctx context.Context) error {
	return c.look(ctx, `
		SELECT n.nspname, c.relname, i.indisunique, c.relkind = 'I' FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid JOIN pg_namespace n ON n.oid = c.relnamespace
		WHERE NOT (i.indisvalid AND i.indisready) AND`+users+`AND c.relpersistence <> 't'
			AND NOT EXISTS (SELECT FROM pg_stat_progress_create_index p WHERE p.datid = (SELECT oid FROM pg_database WHERE datname = current_database()) AND p.index_relid = i.indexrelid)`,
		func(r pgx.CollectableRow) error {
			var schema, name string
			var unique, partitioned bool
			if err := r.Scan(&schema, &name, &unique, &partitioned); err != nil {
				return err
			}
			full := pg.Name(schema, name)
			f := finding.Finding{Name: InvalidIndex, Level: finding.Refuse, Basis: finding.Catalog, Object: "index " + schema + "." + name,
				Message: fmt.Sprintf("index %s.%s is not valid: its making was interrupted, so that queries do not use it and writes pay for it", schema, name),
				Fix:     "REINDEX INDEX CONCURRENTLY " + full + ";"}
			if unique {
				f.Message += ", and rows may have come that are equal where it is unique"
			}
			switch {
			case strings.Contains(name, "_ccnew"), strings.Contains(name, "_ccold"): // what REINDEX CONCURRENTLY leaves
				f.Fix = "DROP INDEX CONCURRENTLY " + full + ";"
			case partitioned:
				f.Message = fmt.Sprintf("index %s.%s of a partitioned table is not valid: a partition has no index of its own attached to it", schema, name)
				f.Fix = "CREATE INDEX CONCURRENTLY … ON each partition; ALTER INDEX " + full + " ATTACH PARTITION …;"
			}
			c.found(f)
			return nil
		})
}
