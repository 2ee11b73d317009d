package report

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/metaextract/pipeline/migrations/finding"
	"github.com/metaextract/pipeline/migrations/rehearsal"
)

// databaseSection is the part of a page about the database.
func databaseSection(t *testing.T, r *rehearsal.Report) string {
	t.Helper()
	page := asHTML(t, withRehearsal(passedSample(), r))
	_, section, found := strings.Cut(page, `<h2 id="database">`)
	require.True(t, found)
	section, _, _ = strings.Cut(section, `<section aria-labelledby="notes">`)
	return section
}

func TestThePageTellsARehearsalFromTheVerdictToWhatWasNotChecked(t *testing.T) {
	section := databaseSection(t, refusedRehearsal())
	last := 0
	for _, text := range []string{
		"REFUSED", "2 migrations must not be applied: 6 findings against them", "Schema version 1 to 3, not applied", "copy of 36.0 MB without the original&#39;s data",
		"Refusals", "plan-index-lost", "migrations/0003_accounts.sql:1", "visits_new IS NULL", "2 add_kind", "CREATE INDEX extractions_kind", "SHARE", "reads all of",
		"Whole migration", "expected on the original: 236 ms to 709 ms", "3 accounts", "ACCESS EXCLUSIVE", "rewrites", "over budget", "80 times as large",
		"What else was looked at", "Budget", "exceeded", "Backup", "proven", "sequences", "not tried: the extension amcheck", "sha256", "Round trip",
		"3 accounts by migrations/0003_accounts.down.sql, 2 add_kind by a proposed way", "Data", "not declared", "Running release", "42703", "INSERT INTO accounts", "Plans",
		"pages 4 to 2,063", "Index Scan using accounts_email_idx", "Seq Scan on public.accounts", "Drift", "table public.byhand",
		"Warnings", "CREATE INDEX CONCURRENTLY", "Notes", "Allowed, 1.4 reads visits as a string already:", "What was not checked, and why",
		"the copy was made with other data", "3 tables it locks had no readers and writers", "interval $1", "not asked for",
	} {
		at := strings.Index(section[last:], text)
		require.GreaterOrEqual(t, at, 0, "%q after what is before it", text)
		last += at
	}
	assert.Equal(t, 1, strings.Count(section, "Tables of the backup"), "one backup is told once")
	assert.Contains(t, databaseSection(t, provenRehearsal()), "DROP TABLE kinds;\nALTER TABLE extractions DROP COLUMN kind;")
}

func TestEveryStatementHasItsRowAndItsBars(t *testing.T) {
	for name, r := range map[string]*rehearsal.Report{"two migrations": refusedRehearsal(), "two hundred statements": manyStatements()} {
		bodies, bars, limits, over := 0, 0, 0, 0
		for _, e := range elements(t, asHTML(t, withRehearsal(passedSample(), r))) {
			switch class := e.attribute("class"); {
			case e.Name.Local == "tbody" && strings.HasPrefix(class, "is-"):
				bodies++
			case strings.HasPrefix(class, "waitbar"):
				bars++
				if strings.Contains(class, "over") {
					over++
				}
			case e.Name.Local == "line" && class == "limit" && slices.Contains(e.within, "table"):
				limits++
			}
		}
		assert.Equal(t, len(r.Statements), bodies, name)
		assert.Equal(t, 2*(len(r.Statements)+len(r.Migrations)), bars, name)
		assert.Equal(t, bars, limits, "%s: the budget is in every bar", name)
		assert.Positive(t, over, name)
	}
}

func TestAPageOfManyStatementsStaysOfASizeThatIsOpened(t *testing.T) {
	page := asHTML(t, withRehearsal(passedSample(), manyStatements()))
	assert.Less(t, len(page), 1<<20)
	assert.Contains(t, page, "more characters in the file", "what is left out of a long statement is said")
	assert.Contains(t, page, "<summary>88 more</summary>")
	for i := range 100 {
		assert.Contains(t, page, fmt.Sprintf("<p class=\"message-text\">finding %d</p>", i))
	}
}

func TestARehearsalWithoutItsPartsIsStillAPage(t *testing.T) {
	for name, change := range map[string]func(r *rehearsal.Report){
		"no backup":      func(r *rehearsal.Report) { r.Backup = nil },
		"no running":     func(r *rehearsal.Report) { r.Compat = nil },
		"no plans":       func(r *rehearsal.Report) { r.Plans = nil },
		"no drift":       func(r *rehearsal.Report) { r.Drift = nil },
		"no round trip":  func(r *rehearsal.Report) { r.RoundTrip = rehearsal.RoundTrip{} },
		"no budget":      func(r *rehearsal.Report) { r.Budget = rehearsal.Budget{} },
		"no statements":  func(r *rehearsal.Report) { r.Statements = nil },
		"no migrations":  func(r *rehearsal.Report) { r.Migrations, r.Statements = nil, nil },
		"no findings":    func(r *rehearsal.Report) { r.Findings = nil },
		"nothing at all": func(r *rehearsal.Report) { *r = rehearsal.Report{} },
	} {
		t.Run(name, func(t *testing.T) {
			r := refusedRehearsal()
			change(r)
			assert.NotEmpty(t, elements(t, asHTML(t, withRehearsal(passedSample(), r))))
			assert.NotEmpty(t, rehearsedOn(t, r, 80, false))
			assert.NotEmpty(t, inMarkdown(t, withRehearsal(passedSample(), r)))
		})
	}
	r := refusedRehearsal()
	r.Compat, r.Plans = nil, nil
	assert.Contains(t, databaseSection(t, r), "Running release and plans")
}

func TestTextOfARehearsalIsNoMarkupAndNoClass(t *testing.T) {
	page := asHTML(t, withRehearsal(hostileSample(), hostileRehearsal()))
	body := page[strings.Index(page, "<body"):]
	for _, evil := range []string{"<script", "<img", "</style>", "\x1b", "\u202e"} {
		assert.False(t, strings.Contains(body, evil), evil)
	}
	for _, e := range elements(t, page) {
		assert.Regexp(t, `^[a-z0-9 -]*$`, e.attribute("class"))
	}
}

func TestAFieldOfARehearsalIsOnThePageWhereItHoldsText(t *testing.T) {
	// Every string is evil, so a field that the page shows without cleaning would show a control character.
	page := asHTML(t, withRehearsal(passedSample(), hostileRehearsal()))
	assert.GreaterOrEqual(t, strings.Count(page, "&lt;script&gt;"), 100)
}

func TestABackupOfItsOwnIsToldBesideTheRehearsals(t *testing.T) {
	run := withRehearsal(passedSample(), provenRehearsal())
	other := provenBackup()
	other.SHA256 = "another"
	run.Database.Backup = other
	assert.Equal(t, 2, strings.Count(asHTML(t, run), "Tables of the backup"))
	assert.Contains(t, shown(t, run, 80, false), "backup proven  1.3 MB")
}

func TestLongStatementsAreShortenedInSightAndWholeBehind(t *testing.T) {
	short, whole := shortened("SELECT 1")
	assert.Equal(t, []string{"SELECT 1", ""}, []string{short, whole})
	short, whole = shortened("CREATE FUNCTION f() AS $$\n" + strings.Repeat("\tx := 1;\n", 30) + "$$")
	assert.Equal(t, pageSQL, len([]rune(short)))
	assert.Contains(t, whole, "\n\tx := 1;\n", "as it was written")
}

func TestTheKeyFigureOfARehearsalIsTheLongestWait(t *testing.T) {
	list := figures(withRehearsal(passedSample(), refusedRehearsal()))
	i := slices.IndexFunc(list, func(f figure) bool { return f.Name == "Blocked by migrations" })
	require.GreaterOrEqual(t, i, 0)
	assert.Equal(t, figure{"Blocked by migrations", "458", "ms", "6 refusals, 2 migrations, 6 statements", "bad"}, list[i])
}

func TestWhatIsToBeDoneIsToldAsProseOrToBePasted(t *testing.T) {
	for fix, want := range map[string]bool{
		"keep it in this release":                                 false,
		"write x.down.sql, or declare: -- deploy: irreversible R": false,
		"ALTER TABLE a ADD b int;":                                true,
		"add to the end of the migration: ANALYZE public.users;":  true,
		"x.down.sql:\nDROP TABLE a;":                              true,
		"":                                                        false,
	} {
		assert.Equal(t, want, pasted(fix), fix)
	}
	h := htmlFindingsOf(&rehearsal.Report{Findings: []finding.Finding{{Level: finding.Warn, Fix: "SELECT 1;\n\tSELECT 2;"}}}, finding.Warn)
	assert.Equal(t, "SELECT 1;\n    SELECT 2;", h.List[0].Paste)
}
