package plans

import (
	"context"
	"fmt"
	"maps"
	"slices"

	"github.com/jackc/pgx/v5"

	"github.com/metaextract/pipeline/internal/pg"
)

// deciding are the settings that decide which plan is chosen, besides enable_*: those that EXPLAIN (SETTINGS) tells of
// (GUC_EXPLAIN in PostgreSQL's guc_tables.c) without those that only decide how it is executed, and the target of ANALYZE.
var deciding = []string{
	"work_mem", "hash_mem_multiplier", "effective_cache_size", "random_page_cost", "seq_page_cost", "cpu_tuple_cost", "cpu_index_tuple_cost",
	"cpu_operator_cost", "parallel_tuple_cost", "parallel_setup_cost", "min_parallel_table_scan_size", "min_parallel_index_scan_size",
	"max_parallel_workers_per_gather", "max_parallel_workers", "parallel_leader_participation", "jit",
	"jit_above_cost", "jit_inline_above_cost", "jit_optimize_above_cost", "from_collapse_limit", "join_collapse_limit", "geqo", "geqo_threshold",
	"geqo_effort", "geqo_pool_size", "geqo_generations", "geqo_selection_bias", "geqo_seed", "cursor_tuple_fraction", "constraint_exclusion",
	"plan_cache_mode", "recursive_worktable_factor", "default_statistics_target",
}

// Settings are those of a session that decide plans. They are read in production, and set by Apply where the plans are
// compared.
func Settings(ctx context.Context, conn *pgx.Conn) (map[string]string, error) {
	rows, err := conn.Query(ctx, `SELECT name, pg_catalog.current_setting(name) FROM pg_catalog.pg_settings
		WHERE name LIKE 'enable\_%' OR name = ANY ($1)`, deciding)
	if err != nil {
		return nil, fmt.Errorf("read settings of the planner: %w", pg.Ended(ctx, err))
	}
	settings := map[string]string{}
	var name, value string
	if _, err := pgx.ForEachRow(rows, []any{&name, &value}, func() error { settings[name] = value; return nil }); err != nil {
		return nil, fmt.Errorf("read settings of the planner: %w", pg.Ended(ctx, err))
	}
	return settings, nil
}

// Apply sets the settings for a session. Those that its server does not have are passed over, for it may be of another
// version; so are those that decide no plan.
func Apply(ctx context.Context, conn *pgx.Conn, settings map[string]string) error {
	known, err := Settings(ctx, conn)
	if err != nil {
		return err
	}
	for _, name := range slices.Sorted(maps.Keys(settings)) {
		if now, there := known[name]; !there || now == settings[name] {
			continue
		}
		if _, err := conn.Exec(ctx, "SELECT pg_catalog.set_config($1, $2, false)", name, settings[name]); err != nil {
			return fmt.Errorf("set %s as it is in production: %w", name, pg.Ended(ctx, err))
		}
	}
	return nil
}
