package migrations

import (
	"io/fs"
	"os"
	"path"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// facts are what was found out before the database stage was built, about golang-migrate, PostgreSQL and the parser, and what
// follows from it. Each is a test: the first of a line's says that the world is so, those after it that we act accordingly. A
// test without a package is of this one. They hold on PostgreSQL 15, 17 and 18, but where the test says otherwise.
var facts = []struct{ fact, tests string }{
	// golang-migrate
	{"a file whose last statement fails is rolled back, and its version is dirty", "TestEngineIsDirtyAfterAFailureThatLeftNothing TestFailureLeavesVersionAndTablesAsTheyWere TestFailureOfTheFirstMigrationLeavesNoVersion"},
	{"two CREATE INDEX CONCURRENTLY in a file are refused, one alone is not", "TestEngineRunsNoTwoConcurrentIndexesOfAFile TestConcurrentIndexesRunWhereverTheyStandInAFile"},
	{"x-multi-statement splits functions at their semicolons", "TestEngineSplitsFunctionsAtTheirSemicolons TestFunctionBodiesWithSemicolonsRun"},
	{"it waits without end for another migrator when it connects; lock_timeout ends that", "TestEngineWaitsForAnotherMigratorWithoutEnd TestLockSaysWhoHoldsIt"},
	{"a lock that it gave up waiting for is taken, and kept", "TestEngineKeepsALockThatItGaveUpWaitingFor TestLockWaitEndsWithTheContextAndLeavesNothingWaiting"},
	{"one that waits and CREATE INDEX CONCURRENTLY of another deadlock, and leave an invalid index", "TestEngineDeadlocksWhileAnotherOneWaits TestTwentyMigratorsAtOnceApplyEachMigrationOnce TestMigratorsAtOnce"},
	{"a migration below the version is skipped without a word; a version that has no file is an error", "TestEngineSkipsWhatIsOutOfOrder TestStateOfEveryMigration TestEveryFaultIsNamedAtOnce"},
	{"the version is lowered without a file for the way back", "TestEngineLowersTheVersionWithoutAWayBack TestVersionIsNotLoweredWithoutAFile TestDownIsRefusedBeforeAnythingIsDone"},
	{"a file with its own BEGIN and COMMIT that fails keeps the lock", "TestEngineKeepsTheLockAfterAFileWithATransactionOfItsOwn TestFileWithItsOwnBeginAndCommit"},
	{"its statement timeout closes the connection", "TestEngineLosesItsConnectionToATimeout TestStatementTimeoutEndsTheStatementNotTheSession"},
	{"SET leaks into the next file; SET LOCAL works within one", "TestEngineLetsSettingsLeakIntoTheNextFile TestSettingsDoNotLeakIntoTheNextFile"},
	{"a way back that fails leaves the version it was to reach, dirty", "TestEngineSaysTheTargetWhenAWayBackFailed TestWayBackThatFailsLeavesEverythingAsItWas"},
	{"it keeps one row, and truncates its table to write it", "TestEngineKeepsOneRowAndTruncatesItsTable TestHistoryTellsWhoDidWhatAndWhen"},
	{"a driver of our own over one connection passes its tests, and both read what the other wrote", "TestDriverPassesTheEnginesOwnTests TestStockMigrateAndOursKeepEachOtherOutAndReadEachOther"},
	{"a lock that is asked for again and again holds no snapshot, so CREATE INDEX CONCURRENTLY does not wait for it", "TestMigratorsAtOnce TestOneOfTwentyMigratorsIsKilledAtWork"},
	{"55P03, 40P01 and 40001 leave nothing, so the file is tried again", "TestRetryIsForWhatPasses TestLockThatIsBusyIsTriedAgainWhenWhoHeldItIsGone TestDeadlockIsTriedAgain TestSerializationFailureIsTriedAgain"},
	{"--> statement-breakpoint is a comment for PostgreSQL", "TestBreakpointsEndStatementsAsTheyDoForDrizzle"},

	// What statements do, and to whom
	{"ADD COLUMN with a constant or now(), wider varchar, text and numeric of the same scale, timestamp to timestamptz under UTC: neither a rewrite nor a scan", "TestWhatAStatementDoesToItsTable TestEvidenceOfOneStatement migrations/statement.TestWidensIsWhatPostgreSQLDoesNotRewrite"},
	{"ADD COLUMN with a volatile default, serial or STORED; other types; narrower ones; another scale; timestamptz elsewhere: a rewrite under AccessExclusive", "TestWhatAStatementDoesToItsTable TestEvidenceOfOneStatement migrations/statement.TestVolatilityIsWhatPostgreSQLSays"},
	{"SET NOT NULL and ADD CHECK scan under AccessExclusive; after a validated CHECK, SET NOT NULL does not; VALIDATE scans under ShareUpdateExclusive", "TestWhatAStatementDoesToItsTable migrations/statement.TestLockAndKindAreWhatPostgreSQLSays"},
	{"ADD FOREIGN KEY locks both tables with ShareRowExclusive, and scans unless it is NOT VALID", "TestWhatAStatementDoesToItsTable migrations/statement.TestLockAndKindAreWhatPostgreSQLSays"},
	{"CREATE INDEX scans under Share, ADD UNIQUE under AccessExclusive", "TestWhatAStatementDoesToItsTable migrations/statement.TestLockAndKindAreWhatPostgreSQLSays"},
	{"UPDATE writes its rows, and their entries in indexes, to the log under RowExclusive", "TestWhatAStatementDoesToItsTable TestWriteAheadLogIsMeasured"},
	{"TRUNCATE and CLUSTER give a table another file, and the event table_rewrite does not tell", "TestWhatAStatementDoesToItsTable TestEvidenceOfOneStatement"},
	{"file, scanned rows, log and locks can be read within the transaction", "TestWhatAStatementDoesToItsTable TestEvidenceOfOneStatement"},
	{"an event trigger needs a superuser", "TestEventTriggerNeedsASuperuser"},
	{"a rewrite and ADD CHECK keep readers and writers waiting, CREATE INDEX writers, CONCURRENTLY nobody", "TestWhoWaitsWhileAStatementRuns migrations/rehearsal.TestSuite"},
	{"a restored database has no statistics; a copy by TEMPLATE has them", "TestRestoredDatabaseHasNoStatistics"},

	// Schema, data, backup
	{"pg_dump -s differs in its \\restrict key alone", "TestDumpOfASchemaIsTheSameButForItsKey"},
	{"a column that is dropped and added again is in another place", "migrations/catalog.TestColumnsMadeAgainAreTheSameInAnotherOrder"},
	{"a sum of hashes does not depend on the order of rows; bit_xor loses pairs of equal rows; json has no hash, its text has", "TestSumKeepsPairsOfEqualRowsThatAnExclusiveOrLoses migrations/checksum.TestSumTellsValuesApart migrations/checksum.TestSumDependsNeitherOnTheOrderOfRowsNorOfColumns"},
	{"pg_dump with an exported snapshot, and sums in it, are of one moment although others write", "migrations/backup.TestBackupIsOfOneMomentAlthoughOthersWrite"},
	{"pg_restore -l accepts a truncated and a damaged dump; reading it to its end does not", "TestListingADumpIsNoVerification migrations/backup.TestBackupIsNotProven migrations/backup.TestDumpThatIsAlteredBeforeItIsWrittenIsNoticed"},
	{"amcheck with heapallindexed passes a restored database, and finds an index that lacks rows", "migrations/backup.TestBackupIsProvenByRestoringIt migrations/backup.TestBackupIsNotProven"},
	{"pg_create_restore_point works, as a superuser", "migrations/backup.TestRestorePointsOfServersThatMakeNone migrations/backup.TestAmcheckIsSkippedWithoutSuperuser"},

	// The running release
	{"PREPARE fails with 42703 or 42P01 where a column or a table is gone", "migrations/compat.TestFindingsAreOneForEachThingThatIsGone migrations/compat.TestIncidents"},
	{"pg_prepared_statements shows the types of parameters, which follow those of columns", "TestTypesOfParametersAreKnownAndChange migrations/compat.TestRunningReleaseOnTheNewSchema"},
	{"PREPARE does not miss a column that must be there: 23502 comes when it is executed", "migrations/compat.TestIncidents"},
	{"SELECT * that was prepared fails with 0A000 after ADD COLUMN", "migrations/compat.TestOpenConnectionsFailOnceWhereAllColumnsAreRead"},

	// Plans
	{"a query has another queryid when its table was dropped and made again (before PostgreSQL 18), and the same after ADD COLUMN", "TestQueryIsCountedAnewWhenItsTableIs"},
	{"a normalized query can be prepared, and explained for any value: force_generic_plan and NULLs", "TestTypesOfParametersAreKnownAndChange migrations/corpus.TestPreparableOfWhatIsRecordedCanBePrepared"},
	{"interval $1 is a syntax error", "TestTypesOfParametersAreKnownAndChange migrations/corpus.TestTextThatIsKept migrations/corpus.TestPreparableHasParametersWhereTheGrammarWantsConstants"},
	{"costs move with the sample that ANALYZE takes", "TestCostsMoveWithTheSampleOfAnalyze migrations/plans.TestMigrationsThatDoNot"},
	{"a change of type deletes a column's statistics; an index on an expression has none until ANALYZE", "TestStatisticsAreLostWithATypeAndMissingForAnExpression migrations/plans.TestChangeOfTypeMakesThePlannerGuess migrations/plans.TestMigrationsThatMakeQueriesSlow"},
	{"the pages that a query reads are the same when it is repeated", "migrations/plans.TestParametersAreValuesOfTheData"},

	// The parser
	{"go-pgquery is PostgreSQL 17's grammar, without cgo; what is newer is an error", "migrations/statement.TestErrorsSayWhatIsNotUnderstood"},
	{"importing it costs nothing", "migrations/statement.TestImportingStartsNoParser"},
	{"it gives fingerprints", "migrations/statement.TestFingerprintIsOfTheStatementWithoutItsConstants"},
	{"our splitter finds the statements that PostgreSQL finds", "migrations/script.TestSplitCountsAsPostgreSQLDoes"},
}

var testFunction = regexp.MustCompile(`(?m)^func (Test\w+)\(`)

func TestEveryFactIsATest(t *testing.T) {
	found, here := map[string]bool{}, map[string]bool{}
	err := fs.WalkDir(os.DirFS(".."), "migrations", func(name string, entry fs.DirEntry, err error) error {
		if err != nil || !strings.HasSuffix(name, "_test.go") {
			return err
		}
		body, err := fs.ReadFile(os.DirFS(".."), name)
		for _, m := range testFunction.FindAllSubmatch(body, -1) {
			found[path.Dir(name)+"."+string(m[1])] = true
			if base := path.Base(name); base == "engine_facts_test.go" || base == "server_facts_test.go" {
				here[path.Dir(name)+"."+string(m[1])] = true
			}
		}
		return err
	})
	require.NoError(t, err)
	for _, f := range facts {
		for _, test := range strings.Fields(f.tests) {
			if !strings.Contains(test, ".") {
				test = "migrations." + test
			}
			assert.True(t, found[test], "%s: there is no test %s", f.fact, test)
			delete(here, test)
		}
	}
	assert.Empty(t, here, "tests of facts that the table lacks")
}
