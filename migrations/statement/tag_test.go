package statement

import (
	"slices"
	"strings"
	"testing"

	pg "github.com/pganalyze/pg_query_go/v6"
	"github.com/stretchr/testify/assert"
)

func TestEveryCommandOfTheGrammarHasAName(t *testing.T) {
	special := []string{
		"SelectStmt", "AlterTableStmt", "DropStmt", "RenameStmt", "AlterObjectSchemaStmt", "AlterOwnerStmt", "AlterObjectDependsStmt", "AlterFunctionStmt",
		"AlterTableMoveAllStmt", "DefineStmt", "CreateFunctionStmt", "CreateTableAsStmt", "GrantStmt", "GrantRoleStmt", "VacuumStmt", "VariableSetStmt", "TransactionStmt",
		"RawStmt", "SetOperationStmt", "ReturnStmt", "PLAssignStmt", "ReplicaIdentityStmt", // parts of others
	}
	fields := (&pg.Node{}).ProtoReflect().Descriptor().Oneofs().Get(0).Fields()
	found := map[string]bool{}
	for i := range fields.Len() {
		name := string(fields.Get(i).Message().Name())
		found[name] = true
		if strings.HasSuffix(name, "Stmt") && !slices.Contains(special, name) {
			assert.NotEmpty(t, nodeWords[name], name)
		}
	}
	for name := range nodeWords {
		assert.True(t, found[name], "%s is no node", name)
	}
}
