package statement

import (
	"strings"

	pg "github.com/pganalyze/pg_query_go/v6"
)

// objectWords are the kinds of objects as SQL calls them.
var objectWords = map[pg.ObjectType]string{
	pg.ObjectType_OBJECT_ACCESS_METHOD: "ACCESS METHOD", pg.ObjectType_OBJECT_AGGREGATE: "AGGREGATE",
	pg.ObjectType_OBJECT_ATTRIBUTE: "ATTRIBUTE", pg.ObjectType_OBJECT_CAST: "CAST", pg.ObjectType_OBJECT_COLUMN: "COLUMN",
	pg.ObjectType_OBJECT_COLLATION: "COLLATION", pg.ObjectType_OBJECT_CONVERSION: "CONVERSION",
	pg.ObjectType_OBJECT_DATABASE: "DATABASE", pg.ObjectType_OBJECT_DOMAIN: "DOMAIN",
	pg.ObjectType_OBJECT_DOMCONSTRAINT: "CONSTRAINT", pg.ObjectType_OBJECT_EVENT_TRIGGER: "EVENT TRIGGER",
	pg.ObjectType_OBJECT_EXTENSION: "EXTENSION", pg.ObjectType_OBJECT_FDW: "FOREIGN DATA WRAPPER",
	pg.ObjectType_OBJECT_FOREIGN_SERVER: "SERVER", pg.ObjectType_OBJECT_FOREIGN_TABLE: "FOREIGN TABLE",
	pg.ObjectType_OBJECT_FUNCTION: "FUNCTION", pg.ObjectType_OBJECT_INDEX: "INDEX", pg.ObjectType_OBJECT_LANGUAGE: "LANGUAGE",
	pg.ObjectType_OBJECT_LARGEOBJECT: "LARGE OBJECT", pg.ObjectType_OBJECT_MATVIEW: "MATERIALIZED VIEW",
	pg.ObjectType_OBJECT_OPCLASS: "OPERATOR CLASS", pg.ObjectType_OBJECT_OPERATOR: "OPERATOR",
	pg.ObjectType_OBJECT_OPFAMILY: "OPERATOR FAMILY", pg.ObjectType_OBJECT_POLICY: "POLICY",
	pg.ObjectType_OBJECT_PROCEDURE: "PROCEDURE", pg.ObjectType_OBJECT_PUBLICATION: "PUBLICATION",
	pg.ObjectType_OBJECT_ROLE: "ROLE", pg.ObjectType_OBJECT_ROUTINE: "ROUTINE", pg.ObjectType_OBJECT_RULE: "RULE",
	pg.ObjectType_OBJECT_SCHEMA: "SCHEMA", pg.ObjectType_OBJECT_SEQUENCE: "SEQUENCE",
	pg.ObjectType_OBJECT_SUBSCRIPTION: "SUBSCRIPTION", pg.ObjectType_OBJECT_STATISTIC_EXT: "STATISTICS",
	pg.ObjectType_OBJECT_TABCONSTRAINT: "CONSTRAINT", pg.ObjectType_OBJECT_TABLE: "TABLE",
	pg.ObjectType_OBJECT_TABLESPACE: "TABLESPACE", pg.ObjectType_OBJECT_TRANSFORM: "TRANSFORM",
	pg.ObjectType_OBJECT_TRIGGER: "TRIGGER", pg.ObjectType_OBJECT_TSCONFIGURATION: "TEXT SEARCH CONFIGURATION",
	pg.ObjectType_OBJECT_TSDICTIONARY: "TEXT SEARCH DICTIONARY", pg.ObjectType_OBJECT_TSPARSER: "TEXT SEARCH PARSER",
	pg.ObjectType_OBJECT_TSTEMPLATE: "TEXT SEARCH TEMPLATE", pg.ObjectType_OBJECT_TYPE: "TYPE",
	pg.ObjectType_OBJECT_USER_MAPPING: "USER MAPPING", pg.ObjectType_OBJECT_VIEW: "VIEW",
}

// kindOf is an Object's kind.
func kindOf(t pg.ObjectType) string { return strings.ToLower(objectWords[t]) }

// renamed is the kind of object that is altered where a part of it is renamed.
func renamed(n *pg.RenameStmt) string {
	switch n.GetRenameType() {
	case pg.ObjectType_OBJECT_COLUMN, pg.ObjectType_OBJECT_TABCONSTRAINT:
		if w := objectWords[n.GetRelationType()]; w != "" && n.GetRenameType() == pg.ObjectType_OBJECT_COLUMN {
			return w
		}
		return "TABLE"
	case pg.ObjectType_OBJECT_ATTRIBUTE:
		return "TYPE"
	case pg.ObjectType_OBJECT_DOMCONSTRAINT:
		return "DOMAIN"
	}
	return objectWords[n.GetRenameType()]
}

// Kind is the statement's command as PostgreSQL's command tags and manual pages name it: "ALTER TABLE", "CREATE INDEX",
// "INSERT". It is "" where the statement was not understood.
func (s *Statement) Kind() string {
	switch n := s.tree.GetNode().(type) {
	case nil:
		return ""
	case *pg.Node_SelectStmt:
		if n.SelectStmt.GetIntoClause() != nil {
			return "SELECT INTO"
		}
		return "SELECT"
	case *pg.Node_AlterTableStmt:
		return "ALTER " + objectWords[n.AlterTableStmt.GetObjtype()]
	case *pg.Node_DropStmt:
		return "DROP " + objectWords[n.DropStmt.GetRemoveType()]
	case *pg.Node_RenameStmt:
		return "ALTER " + renamed(n.RenameStmt)
	case *pg.Node_AlterObjectSchemaStmt:
		return "ALTER " + objectWords[n.AlterObjectSchemaStmt.GetObjectType()]
	case *pg.Node_AlterOwnerStmt:
		return "ALTER " + objectWords[n.AlterOwnerStmt.GetObjectType()]
	case *pg.Node_AlterObjectDependsStmt:
		return "ALTER " + objectWords[n.AlterObjectDependsStmt.GetObjectType()]
	case *pg.Node_AlterFunctionStmt:
		return "ALTER " + objectWords[n.AlterFunctionStmt.GetObjtype()]
	case *pg.Node_AlterTableMoveAllStmt:
		return "ALTER " + objectWords[n.AlterTableMoveAllStmt.GetObjtype()]
	case *pg.Node_DefineStmt:
		return "CREATE " + objectWords[n.DefineStmt.GetKind()]
	case *pg.Node_CreateFunctionStmt:
		if n.CreateFunctionStmt.GetIsProcedure() {
			return "CREATE PROCEDURE"
		}
		return "CREATE FUNCTION"
	case *pg.Node_CreateTableAsStmt:
		switch {
		case n.CreateTableAsStmt.GetObjtype() == pg.ObjectType_OBJECT_MATVIEW:
			return "CREATE MATERIALIZED VIEW"
		case n.CreateTableAsStmt.GetIsSelectInto():
			return "SELECT INTO"
		}
		return "CREATE TABLE AS"
	case *pg.Node_GrantStmt:
		return grantWord(n.GrantStmt.GetIsGrant())
	case *pg.Node_GrantRoleStmt:
		return grantWord(n.GrantRoleStmt.GetIsGrant()) + " ROLE"
	case *pg.Node_VacuumStmt:
		if n.VacuumStmt.GetIsVacuumcmd() {
			return "VACUUM"
		}
		return "ANALYZE"
	case *pg.Node_VariableSetStmt:
		if k := n.VariableSetStmt.GetKind(); k == pg.VariableSetKind_VAR_RESET || k == pg.VariableSetKind_VAR_RESET_ALL {
			return "RESET"
		}
		return "SET"
	case *pg.Node_TransactionStmt:
		return transactionWords[n.TransactionStmt.GetKind()]
	}
	return nodeWords[string(message(s.tree).ProtoReflect().Descriptor().Name())]
}

func grantWord(grant bool) string {
	if grant {
		return "GRANT"
	}
	return "REVOKE"
}

var transactionWords = map[pg.TransactionStmtKind]string{
	pg.TransactionStmtKind_TRANS_STMT_BEGIN: "BEGIN", pg.TransactionStmtKind_TRANS_STMT_START: "START TRANSACTION",
	pg.TransactionStmtKind_TRANS_STMT_COMMIT: "COMMIT", pg.TransactionStmtKind_TRANS_STMT_ROLLBACK: "ROLLBACK",
	pg.TransactionStmtKind_TRANS_STMT_SAVEPOINT: "SAVEPOINT", pg.TransactionStmtKind_TRANS_STMT_RELEASE: "RELEASE",
	pg.TransactionStmtKind_TRANS_STMT_ROLLBACK_TO: "ROLLBACK", pg.TransactionStmtKind_TRANS_STMT_PREPARE: "PREPARE TRANSACTION",
	pg.TransactionStmtKind_TRANS_STMT_COMMIT_PREPARED:   "COMMIT PREPARED",
	pg.TransactionStmtKind_TRANS_STMT_ROLLBACK_PREPARED: "ROLLBACK PREPARED",
}

// nodeWords are the commands of the nodes that are always the same command.
var nodeWords = map[string]string{
	"InsertStmt": "INSERT", "DeleteStmt": "DELETE", "UpdateStmt": "UPDATE", "MergeStmt": "MERGE", "CopyStmt": "COPY",
	"CreateStmt": "CREATE TABLE", "CreateForeignTableStmt": "CREATE FOREIGN TABLE", "IndexStmt": "CREATE INDEX",
	"ViewStmt": "CREATE VIEW", "CreateSeqStmt": "CREATE SEQUENCE", "AlterSeqStmt": "ALTER SEQUENCE",
	"CreateSchemaStmt": "CREATE SCHEMA", "CreateExtensionStmt": "CREATE EXTENSION", "AlterExtensionStmt": "ALTER EXTENSION",
	"AlterExtensionContentsStmt": "ALTER EXTENSION", "CreateDomainStmt": "CREATE DOMAIN", "AlterDomainStmt": "ALTER DOMAIN",
	"CreateEnumStmt": "CREATE TYPE", "CompositeTypeStmt": "CREATE TYPE", "CreateRangeStmt": "CREATE TYPE",
	"AlterEnumStmt": "ALTER TYPE", "AlterTypeStmt": "ALTER TYPE", "CreateTrigStmt": "CREATE TRIGGER",
	"CreateEventTrigStmt": "CREATE EVENT TRIGGER", "AlterEventTrigStmt": "ALTER EVENT TRIGGER", "RuleStmt": "CREATE RULE",
	"CreatePolicyStmt": "CREATE POLICY", "AlterPolicyStmt": "ALTER POLICY", "CreateStatsStmt": "CREATE STATISTICS",
	"AlterStatsStmt": "ALTER STATISTICS", "TruncateStmt": "TRUNCATE TABLE", "CommentStmt": "COMMENT",
	"SecLabelStmt": "SECURITY LABEL", "AlterDefaultPrivilegesStmt": "ALTER DEFAULT PRIVILEGES", "DoStmt": "DO",
	"CallStmt": "CALL", "LockStmt": "LOCK TABLE", "ClusterStmt": "CLUSTER", "ReindexStmt": "REINDEX",
	"RefreshMatViewStmt": "REFRESH MATERIALIZED VIEW", "ExplainStmt": "EXPLAIN", "PrepareStmt": "PREPARE",
	"ExecuteStmt": "EXECUTE", "DeallocateStmt": "DEALLOCATE", "DeclareCursorStmt": "DECLARE CURSOR", "FetchStmt": "FETCH",
	"ClosePortalStmt": "CLOSE CURSOR", "VariableShowStmt": "SHOW", "ConstraintsSetStmt": "SET CONSTRAINTS",
	"CheckPointStmt": "CHECKPOINT", "DiscardStmt": "DISCARD", "LoadStmt": "LOAD", "ListenStmt": "LISTEN",
	"NotifyStmt": "NOTIFY", "UnlistenStmt": "UNLISTEN", "CreatedbStmt": "CREATE DATABASE", "DropdbStmt": "DROP DATABASE",
	"AlterDatabaseStmt": "ALTER DATABASE", "AlterDatabaseSetStmt": "ALTER DATABASE",
	"AlterDatabaseRefreshCollStmt": "ALTER DATABASE", "AlterSystemStmt": "ALTER SYSTEM", "CreateRoleStmt": "CREATE ROLE",
	"AlterRoleStmt": "ALTER ROLE", "AlterRoleSetStmt": "ALTER ROLE", "DropRoleStmt": "DROP ROLE",
	"DropOwnedStmt": "DROP OWNED", "ReassignOwnedStmt": "REASSIGN OWNED", "CreateTableSpaceStmt": "CREATE TABLESPACE",
	"DropTableSpaceStmt": "DROP TABLESPACE", "AlterTableSpaceOptionsStmt": "ALTER TABLESPACE",
	"CreatePublicationStmt": "CREATE PUBLICATION", "AlterPublicationStmt": "ALTER PUBLICATION",
	"CreateSubscriptionStmt": "CREATE SUBSCRIPTION", "AlterSubscriptionStmt": "ALTER SUBSCRIPTION",
	"DropSubscriptionStmt": "DROP SUBSCRIPTION", "CreateFdwStmt": "CREATE FOREIGN DATA WRAPPER",
	"AlterFdwStmt": "ALTER FOREIGN DATA WRAPPER", "CreateForeignServerStmt": "CREATE SERVER",
	"AlterForeignServerStmt": "ALTER SERVER", "CreateUserMappingStmt": "CREATE USER MAPPING",
	"AlterUserMappingStmt": "ALTER USER MAPPING", "DropUserMappingStmt": "DROP USER MAPPING",
	"ImportForeignSchemaStmt": "IMPORT FOREIGN SCHEMA", "CreatePLangStmt": "CREATE LANGUAGE", "CreateAmStmt": "CREATE ACCESS METHOD",
	"CreateOpClassStmt": "CREATE OPERATOR CLASS", "CreateOpFamilyStmt": "CREATE OPERATOR FAMILY",
	"AlterOpFamilyStmt": "ALTER OPERATOR FAMILY", "AlterOperatorStmt": "ALTER OPERATOR", "CreateCastStmt": "CREATE CAST",
	"CreateConversionStmt": "CREATE CONVERSION", "CreateTransformStmt": "CREATE TRANSFORM",
	"AlterTSDictionaryStmt": "ALTER TEXT SEARCH DICTIONARY", "AlterTSConfigurationStmt": "ALTER TEXT SEARCH CONFIGURATION",
	"AlterCollationStmt": "ALTER COLLATION",
}
