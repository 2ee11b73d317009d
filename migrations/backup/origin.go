package backup

import (
	"context"
	"fmt"
	"maps"

	"github.com/jackc/pgx/v5"

	"github.com/metaextract/pipeline/internal/pg"
)

// origin is the database that is backed up, as far as another must be like it for the backup to be restored there and for
// what is measured there to mean something.
type origin struct {
	Name       string            `json:"name"`
	Version    Version           `json:"version"`
	Locale     pg.Locale         `json:"locale"`
	Start      map[string]string `json:"start"`    // settings that only the start of a server takes
	Settings   map[string]string `json:"settings"` // settings that a session has from the server's configuration
	Roles      []role            `json:"roles"`
	Extensions map[string]string `json:"extensions"` // versions by name
	Properties properties        `json:"properties"`

	system   string
	timeline int
}

// startSettings are those settings of a server that change what a migration may do or how much write-ahead log it makes,
// and that only the start of a server takes. The rest of a server's size (shared_buffers, max_connections) is that of the
// machine the copy is on.
var startSettings = []string{
	"wal_level", "max_wal_senders", "max_locks_per_transaction", "max_prepared_transactions", "max_worker_processes", "track_commit_timestamp",
}

// sessionSettings change which plans are chosen, how long a statement takes, or what it means. Their values are in the
// units of pg_settings, which SET takes without saying them. Those that a version does not have are passed over.
var sessionSettings = []string{
	// plans (all enable_… are taken too)
	"constraint_exclusion", "cpu_index_tuple_cost", "cpu_operator_cost", "cpu_tuple_cost", "cursor_tuple_fraction",
	"default_statistics_target", "effective_cache_size", "effective_io_concurrency", "from_collapse_limit", "geqo", "geqo_threshold",
	"jit", "jit_above_cost", "jit_inline_above_cost", "jit_optimize_above_cost", "join_collapse_limit", "min_parallel_index_scan_size",
	"min_parallel_table_scan_size", "parallel_leader_participation", "parallel_setup_cost", "parallel_tuple_cost", "plan_cache_mode",
	"random_page_cost", "recursive_worktable_factor", "seq_page_cost",
	// memory and workers
	"hash_mem_multiplier", "logical_decoding_work_mem", "maintenance_io_concurrency", "maintenance_work_mem", "max_parallel_maintenance_workers",
	"max_parallel_workers", "max_parallel_workers_per_gather", "temp_buffers", "work_mem",
	// meaning
	"array_nulls", "backslash_quote", "bytea_output", "datestyle", "default_table_access_method", "default_text_search_config",
	"default_toast_compression", "default_transaction_isolation", "extra_float_digits", "intervalstyle", "lc_monetary", "lc_numeric", "lc_time",
	"quote_all_identifiers", "search_path", "standard_conforming_strings", "timezone", "timezone_abbreviations", "transform_null_equals",
	"xmlbinary", "xmloption",
}

// Of the libraries that a server loads when it starts a copy needs the one that counts statements. The setting itself is for
// superusers to read.
const (
	preload       = "shared_preload_libraries"
	hasStatements = "EXISTS (SELECT FROM pg_catalog.pg_settings WHERE name = 'pg_stat_statements.max')"
)

// server is what a scratch server for it must be like.
func (o *origin) server() Server {
	return Server{Major: o.Version.Major, Settings: maps.Clone(o.Start)}
}

// look reads the origin, on a session that has changed nothing.
func look(ctx context.Context, conn *pgx.Conn) (*origin, error) {
	o := &origin{Start: map[string]string{}, Settings: map[string]string{}, Extensions: map[string]string{}}
	var err error
	if o.Version, err = serverVersion(ctx, conn); err != nil {
		return nil, err
	}
	if o.Locale, err = pg.ReadLocale(ctx, conn); err != nil {
		return nil, err
	}
	if err := conn.QueryRow(ctx, "SELECT pg_catalog.current_database()").Scan(&o.Name); err != nil {
		return nil, fmt.Errorf("look at database: %w", pg.Ended(ctx, err))
	}
	// What this session has of its own (its role's settings, those of its URL) is no part of the server.
	var name, value string
	var start bool
	rows, err := conn.Query(ctx, `SELECT name, reset_val, name = ANY ($1) FROM pg_catalog.pg_settings
		WHERE (name = ANY ($1) OR pg_catalog.lower(name) = ANY ($2) OR pg_catalog.starts_with(name, 'enable_')) AND reset_val IS NOT NULL
			AND source NOT IN ('client', 'session', 'user', 'database user')`, startSettings, sessionSettings)
	if err == nil {
		_, err = pgx.ForEachRow(rows, []any{&name, &value, &start}, func() error {
			if start {
				o.Start[name] = value
			} else {
				o.Settings[name] = value
			}
			return nil
		})
	}
	if err != nil {
		return nil, fmt.Errorf("read the server's settings: %w", pg.Ended(ctx, err))
	}
	var statements bool
	err = conn.QueryRow(ctx, "SELECT "+hasStatements).Scan(&statements)
	if err != nil {
		return nil, fmt.Errorf("read the server's settings: %w", pg.Ended(ctx, err))
	}
	if statements {
		o.Start[preload] = "pg_stat_statements"
	}
	if o.Roles, err = roles(ctx, conn); err != nil {
		return nil, err
	}
	rows, err = conn.Query(ctx, "SELECT extname, extversion FROM pg_catalog.pg_extension")
	if err == nil {
		_, err = pgx.ForEachRow(rows, []any{&name, &value}, func() error {
			o.Extensions[name] = value
			return nil
		})
	}
	if err != nil {
		return nil, fmt.Errorf("list extensions: %w", pg.Ended(ctx, err))
	}
	if o.Properties, err = readProperties(ctx, conn, o.Name); err != nil {
		return nil, err
	}
	o.system, o.timeline = identify(ctx, conn)
	return o, nil
}

// serverVersion is the version of a session's server.
func serverVersion(ctx context.Context, conn *pgx.Conn) (v Version, err error) {
	err = conn.QueryRow(ctx, "SELECT pg_catalog.current_setting('server_version_num')::int / 10000, pg_catalog.current_setting('server_version')").Scan(&v.Major, &v.Full)
	if err != nil {
		return v, fmt.Errorf("ask for the server's version: %w", pg.Ended(ctx, err))
	}
	return v, nil
}

// identify tells one cluster and its timeline from others. Some managed servers keep it to themselves: then it is empty.
func identify(ctx context.Context, conn *pgx.Conn) (system string, timeline int) {
	_ = conn.QueryRow(ctx, "SELECT system_identifier::text FROM pg_catalog.pg_control_system()").Scan(&system)
	_ = conn.QueryRow(ctx, "SELECT timeline_id FROM pg_catalog.pg_control_checkpoint()").Scan(&timeline)
	return system, timeline
}

// position is the end of a server's write-ahead log: of what it has written, or replayed where it follows another.
func position(ctx context.Context, conn *pgx.Conn) (lsn string, err error) {
	err = conn.QueryRow(ctx, `SELECT CASE WHEN pg_catalog.pg_is_in_recovery() THEN pg_catalog.pg_last_wal_replay_lsn()
		ELSE pg_catalog.pg_current_wal_lsn() END::text`).Scan(&lsn)
	if err != nil {
		return "", fmt.Errorf("read the log's position: %w", pg.Ended(ctx, err))
	}
	return lsn, nil
}
