package report

import (
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/metaextract/pipeline/migrations/finding"
	"github.com/metaextract/pipeline/migrations/rehearsal"
)

func rehearsedOn(t *testing.T, r *rehearsal.Report, columns int, colour bool) string {
	t.Helper()
	var b strings.Builder
	require.NoError(t, WriteMigrations(&b, r, columns, colour))
	return b.String()
}

// rehearsals are samples of every kind.
func rehearsals() map[string]*rehearsal.Report {
	long := refusedRehearsal()
	for i := range long.Statements {
		long.Statements[i].Lock = "ShareUpdateExclusiveLock"
		long.Statements[i].BlockedReadsMS, long.Statements[i].WALBytes = 123_456, 999_900_000_000
	}
	return map[string]*rehearsal.Report{
		"proven": provenRehearsal(), "refused": refusedRehearsal(), "many": manyStatements(), "hostile": hostileRehearsal(), "long": long,
		"empty": {}, "nothing pending": {Verdict: rehearsal.Proven, Drift: &rehearsal.Drift{}},
	}
}

func TestTheRehearsalOfMigrations(t *testing.T) {
	golden(t, "rehearsal-refused-80.txt", rehearsedOn(t, refusedRehearsal(), 80, false))
	golden(t, "rehearsal-refused-120.txt", rehearsedOn(t, refusedRehearsal(), 120, false))
	golden(t, "rehearsal-proven-80.txt", rehearsedOn(t, provenRehearsal(), 80, false))
	golden(t, "rehearsal-proven-120.txt", rehearsedOn(t, provenRehearsal(), 120, false))
	golden(t, "rehearsal-refused.ansi", strings.ReplaceAll(rehearsedOn(t, refusedRehearsal(), 120, true), "\x1b", "␛"))
}

func TestTheScreenOfARunShowsItsMigrationsInBrief(t *testing.T) {
	golden(t, "migrations-refused.txt", shown(t, withRehearsal(refusedSample(), refusedRehearsal()), 80, false))
	golden(t, "migrations-proven.txt", shown(t, withRehearsal(passedSample(), provenRehearsal()), 80, false))
}

func TestARehearsalIsToldFromTheVerdictToTheNotes(t *testing.T) {
	text := rehearsedOn(t, refusedRehearsal(), 80, false)
	assert.True(t, strings.HasPrefix(text, "REFUSED  2 migrations must not be applied: 6 findings against them"))
	last := 0
	for _, part := range []string{
		"✗ plan-index-lost", "→ keep the index", "✗ breaks-running-release  migrations/0003_accounts.sql:2", "2 add_kind", "CREATE INDEX extractions",
		"! index-not-concurrently: the index", "measured", "expected", "3 accounts", "Budget", "Backup", "Round trip", "Data", "Running release", "Plans", "Drift",
		"Worse plans", "before  Index Scan", "after   Gather", "Warnings", "Notes", "REFUSED",
	} {
		at := strings.Index(text[last:], part)
		require.GreaterOrEqual(t, at, 0, "%q after what is before it", part)
		last += at
	}
}

func TestNothingButWhatIsPastedIsWiderThanTheTerminal(t *testing.T) {
	for name, r := range rehearsals() {
		paste := map[string]bool{}
		for _, f := range r.Findings {
			if pasted(f.Fix) {
				for _, l := range fixLines(f.Fix) {
					paste[strings.TrimSpace(l)] = true
				}
			}
		}
		for _, sql := range r.RoundTrip.Proposed {
			for _, l := range fixLines(sql) {
				paste[strings.TrimSpace(l)] = true
			}
		}
		for _, columns := range []int{40, 64, 80, 100, 120, 200} {
			for l := range strings.Lines(rehearsedOn(t, r, columns, true)) {
				l = strings.TrimRight(l, "\n")
				if !paste[strings.TrimSpace(plain(l))] {
					assert.LessOrEqual(t, width(l), columns, "%s at %d: %q", name, columns, l)
				}
			}
		}
	}
}

func TestNumbersEndWhereTheirHeadDoes(t *testing.T) {
	for columns, below := range map[int]int{80: 2, 120: 1} { // lines from the head to the first statement's numbers
		lines := strings.Split(rehearsedOn(t, refusedRehearsal(), columns, false), "\n")
		ends := map[int]int{}
		for i, l := range lines {
			at := strings.Index(l, "reads  writes")
			if at < 0 {
				continue
			}
			end := at + len("reads  writes")
			row := []rune(lines[i+below])
			assert.Greater(t, len(row), end-1, string(row))
			assert.Regexp(t, `\d$`, string(row[:end]))
			assert.Regexp(t, `\d$`, string(row[:end-len("  writes")]))
			ends[end]++
		}
		assert.Len(t, ends, 1, "the tables of all migrations have the same columns: %v", ends)
		assert.Equal(t, 2, ends[sortedKeys(ends)[0]])
	}
}

func TestANarrowTerminalLeavesColumnsOutAndAWideOneTakesALineAStatement(t *testing.T) {
	narrow, normal, wide := rehearsedOn(t, refusedRehearsal(), 44, false), rehearsedOn(t, refusedRehearsal(), 80, false), rehearsedOn(t, refusedRehearsal(), 120, false)
	assert.NotContains(t, narrow, "rewrite  ")
	assert.Contains(t, narrow, "reads  writes")
	assert.Contains(t, normal, "class     lock              rewrite  scan      WAL  reads  writes\n")
	assert.Contains(t, wide, "class     lock              rewrite  scan      WAL  reads  writes  verdict\n")
}

func TestWhatIsToBePastedIsNeverCut(t *testing.T) {
	for _, columns := range []int{40, 120} {
		text := rehearsedOn(t, refusedRehearsal(), columns, false)
		for _, f := range refusedRehearsal().Findings {
			if !pasted(f.Fix) {
				continue
			}
			for _, l := range fixLines(f.Fix) {
				assert.Contains(t, text, "\n    "+l+"\n")
			}
		}
	}
	text := rehearsedOn(t, provenRehearsal(), 80, false)
	assert.Contains(t, text, "  migrations/0002_add_kind.down.sql\n    DROP TABLE kinds;\n    ALTER TABLE extractions DROP COLUMN kind;\n")
}

func TestAWayBackThatLeadsNowhereIsNotProposed(t *testing.T) {
	r := provenRehearsal()
	r.RoundTrip.Verdict = rehearsal.NotBack
	text := rehearsedOn(t, r, 80, false)
	assert.NotContains(t, text, "DROP TABLE kinds")
	assert.NotContains(t, text, "proposed;")
}

func TestManyStatementsAndFindingsAreCounted(t *testing.T) {
	text := rehearsedOn(t, manyStatements(), 80, false)
	assert.Contains(t, text, "… and 180 more in the report, none of them worse")
	assert.Contains(t, text, "… and 88 more in the report")
	assert.Contains(t, text, "… and 92 more in the report")
	assert.Contains(t, text, "… and 95 more in the report")
	assert.Equal(t, 4, strings.Count(text, "✗ refuse\n"), "every statement that is refused is shown")
	assert.Less(t, strings.Count(text, "\n"), 250)
	assert.Less(t, strings.Count(shown(t, withRehearsal(passedSample(), manyStatements()), 80, false), "\n"), 100)
}

func TestARehearsalCannotControlTheTerminal(t *testing.T) {
	text := rehearsedOn(t, hostileRehearsal(), 80, false) + shown(t, withRehearsal(hostileSample(), hostileRehearsal()), 80, false)
	for _, evil := range []string{"\x1b", "\u202e", "\r"} {
		assert.False(t, strings.Contains(text, evil), "%q", evil)
	}
}

func TestARehearsalOfWhichNothingIsKnownSaysSo(t *testing.T) {
	assert.Contains(t, rehearsedOn(t, &rehearsal.Report{}, 80, false), "BROKEN  nothing is known about the migrations")
	assert.Contains(t, rehearsedOn(t, &rehearsal.Report{Verdict: rehearsal.Proven, Drift: &rehearsal.Drift{Known: true}}, 80, false), "PROVEN  nothing is pending")
	r := refusedRehearsal()
	r.Backup, r.Compat, r.Plans, r.Drift = nil, nil, nil, nil
	text := rehearsedOn(t, r, 80, false)
	for _, line := range []string{"- Backup           none", "- Running release  not checked", "- Plans            not checked", "- Drift            not looked for"} {
		assert.Contains(t, text, line)
	}
}

func TestAStatementWithoutFindingsGivesItsOwnReason(t *testing.T) {
	r := refusedRehearsal()
	r.Findings = nil
	text := rehearsedOn(t, r, 120, false)
	assert.Contains(t, text, "✗ "+r.Statements[2].Reason)
	assert.NotContains(t, text, r.Statements[0].Reason, "one that passes needs none")
}

func TestALockThatIsHeldAlreadyIsNotCalledNone(t *testing.T) {
	r := refusedRehearsal()
	locks := []string{}
	for _, s := range r.Statements {
		locks = append(locks, lockOf(r, s))
	}
	assert.Equal(t, []string{"ACCESS EXCLUSIVE", "SHARE", "ACCESS EXCLUSIVE", "none new", "none new", "none new"}, locks)
	assert.Equal(t, "none", lockOf(r, rehearsal.Statement{Version: 9, Number: 1}))
	assert.Equal(t, "none", lockOf(r, rehearsal.Statement{Version: 3, Number: 1}), "what comes after it does not count")
}

func TestAllowedFindingsAreNotesWithTheReason(t *testing.T) {
	text := strings.Join(strings.Fields(rehearsedOn(t, refusedRehearsal(), 120, false)), " ")
	assert.Contains(t, text, "- allowed, 1.4 reads visits as a string already: migrations/0003_accounts.sql:1: the statement changes the type")
	assert.Equal(t, "allowed, x: y (z)", noteText(finding.Finding{Name: "z", Allowed: "x", Message: "y"}))
}

func ExampleWriteMigrations() {
	var b strings.Builder
	_ = WriteMigrations(&b, provenRehearsal(), 80, false)
	fmt.Println(strings.Split(b.String(), "\n")[0])
	// Output: PROVEN  1 migration can be applied: nobody waited longer than 14 ms  9.1 s
}
