package statement

import (
	pg "github.com/pganalyze/pg_query_go/v6"
)

// alterLock is the lock that a command of ALTER TABLE takes on the table: AlterTableGetLockLevel in PostgreSQL's
// src/backend/commands/tablecmds.c, where whatever is not listed takes the strongest.
func alterLock(cmd *pg.AlterTableCmd) string {
	switch cmd.GetSubtype() {
	case pg.AlterTableType_AT_EnableTrig, pg.AlterTableType_AT_EnableAlwaysTrig, pg.AlterTableType_AT_EnableReplicaTrig,
		pg.AlterTableType_AT_EnableTrigAll, pg.AlterTableType_AT_EnableTrigUser, pg.AlterTableType_AT_DisableTrig,
		pg.AlterTableType_AT_DisableTrigAll, pg.AlterTableType_AT_DisableTrigUser:
		return "ShareRowExclusiveLock"
	case pg.AlterTableType_AT_AddConstraint:
		if cmd.GetDef().GetConstraint().GetContype() == pg.ConstrType_CONSTR_FOREIGN {
			return "ShareRowExclusiveLock"
		}
	case pg.AlterTableType_AT_SetStatistics, pg.AlterTableType_AT_SetOptions, pg.AlterTableType_AT_ResetOptions,
		pg.AlterTableType_AT_ClusterOn, pg.AlterTableType_AT_DropCluster, pg.AlterTableType_AT_ValidateConstraint,
		pg.AlterTableType_AT_AttachPartition, pg.AlterTableType_AT_DetachPartitionFinalize:
		return "ShareUpdateExclusiveLock"
	case pg.AlterTableType_AT_DetachPartition:
		if cmd.GetDef().GetPartitionCmd().GetConcurrent() {
			return "ShareUpdateExclusiveLock"
		}
	case pg.AlterTableType_AT_SetRelOptions, pg.AlterTableType_AT_ResetRelOptions:
		for _, o := range cmd.GetDef().GetList().GetItems() {
			if !mild[o.GetDefElem().GetDefname()] {
				return "AccessExclusiveLock"
			}
		}
		return "ShareUpdateExclusiveLock"
	}
	return "AccessExclusiveLock"
}

// mild are the storage parameters that are changed under the weaker lock: those declared so in
// src/backend/access/common/reloptions.c ("SHARE UPDATE EXCLUSIVE lock will be taken for fillfactor, toast and autovacuum
// storage parameters, as well as the planner parameter parallel_workers", ALTER TABLE).
var mild = map[string]bool{
	"fillfactor": true, "toast_tuple_target": true, "parallel_workers": true, "log_autovacuum_min_duration": true,
	"vacuum_index_cleanup": true, "vacuum_truncate": true, "vacuum_max_eager_freeze_failure_rate": true,
	"autovacuum_enabled": true, "autovacuum_vacuum_threshold": true, "autovacuum_vacuum_max_threshold": true,
	"autovacuum_vacuum_insert_threshold": true, "autovacuum_analyze_threshold": true, "autovacuum_vacuum_scale_factor": true,
	"autovacuum_vacuum_insert_scale_factor": true, "autovacuum_analyze_scale_factor": true, "autovacuum_vacuum_cost_delay": true,
	"autovacuum_vacuum_cost_limit": true, "autovacuum_freeze_min_age": true, "autovacuum_freeze_max_age": true,
	"autovacuum_freeze_table_age": true, "autovacuum_multixact_freeze_min_age": true,
	"autovacuum_multixact_freeze_max_age": true, "autovacuum_multixact_freeze_table_age": true,
}
