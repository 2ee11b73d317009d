package rehearsal

import (
	"bytes"
	_ "embed"
	"flag"
	"fmt"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"text/template"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/metaextract/pipeline/internal/squawktest"
	"github.com/metaextract/pipeline/migrations/finding"
)

var update = flag.Bool("update", false, "write docs/suite.md and what squawk says of the suite anew")

const suitePage = "../../docs/suite.md"

//go:embed testdata/suite.md.tmpl
var suiteTemplate string

// always are squawk's rules about how any migration is run. Its migrator sets both timeouts here, and a file that fails leaves
// nothing behind, so they say nothing of one migration that they do not say of another.
var always = []string{"require-lock-timeout", "require-statement-timeout", "prefer-robust-stmts"}

// suiteRow is a line of the table in docs/suite.md.
type suiteRow struct {
	Name, About, Truth string
	Dangerous, Refused bool
	Ours, Squawk       []string // findings that refuse; rules
}

func newSuiteRow(c *suiteCase, is truth, r *Report) suiteRow {
	row := suiteRow{Name: c.name, About: c.about, Truth: is.reason, Dangerous: is.dangerous, Refused: r.Verdict != Proven, Squawk: c.squawk}
	if !is.dangerous {
		row.Truth = "nobody waited, nothing failed or was lost"
	}
	for _, f := range r.Findings {
		if f.Level == finding.Refuse && !slices.Contains(row.Ours, f.Name) {
			row.Ours = append(row.Ours, f.Name)
		}
	}
	slices.Sort(row.Ours)
	return row
}

// Special are the rules that squawk reports of this migration in particular.
func (r suiteRow) Special() []string {
	return slices.DeleteFunc(slices.Clone(r.Squawk), func(rule string) bool { return slices.Contains(always, rule) })
}

// cells are the line's columns.
func (r suiteRow) cells() []string {
	verdict := func(yes bool, word, no string, names []string) string {
		if !yes {
			return no
		}
		return word + ": " + strings.Join(names, ", ")
	}
	label, right := "harmless", "neither"
	if r.Dangerous {
		label = "dangerous"
	}
	switch we, they := r.Refused == r.Dangerous, len(r.Special()) > 0 == r.Dangerous; {
	case we && they:
		right = "both"
	case we:
		right = "the rehearsal"
	case they:
		right = "squawk"
	}
	truth := strings.NewReplacer("|", `\|`, "\n", " ").Replace(r.Truth)
	return []string{r.Name, label + ": " + truth, verdict(r.Refused, "refused", "proven", r.Ours), verdict(len(r.Special()) > 0, "flags", "nothing", r.Special()), right}
}

// Line is the line.
func (r suiteRow) Line() string { return "| " + strings.Join(r.cells(), " | ") + " |" }

// waits are the findings that a wait decides. A harmful migration that is refused for something else may keep others waiting
// on one day and not on the other.
var waits = regexp.MustCompile(`(?:, )?blocked-(?:reads|writes)(?:, )?`)

// steady is what of a line must not change: its name, the labels and verdicts, and findings that are no waits.
func steady(line string) string {
	cells := strings.Split(strings.ReplaceAll(line, `\|`, ""), " | ")
	if len(cells) != 5 {
		return line
	}
	label, _, _ := strings.Cut(cells[1], ":")
	return strings.Join([]string{cells[0], label, waits.ReplaceAllString(cells[2], ""), cells[3], cells[4]}, " | ")
}

// checkSuitePage compares docs/suite.md with the table, or writes it. Where only some of the migrations were run, their lines
// are compared.
func checkSuitePage(t *testing.T, rows []suiteRow, all bool) {
	t.Helper()
	if !all {
		require.False(t, *update, "docs/suite.md is written when all migrations are run: %s=1", suiteVariable)
		have, err := os.ReadFile(suitePage)
		require.NoError(t, err)
		lines := strings.Split(steadyPage(string(have)), "\n")
		for _, r := range rows {
			assert.Contains(t, lines, steady(r.Line()), "docs/suite.md has drifted")
		}
		return
	}
	count := func(which func(suiteRow) bool) (n int) {
		for _, r := range rows {
			if which(r) {
				n++
			}
		}
		return n
	}
	special := func(r suiteRow) bool { return len(r.Special()) > 0 }
	var page bytes.Buffer
	require.NoError(t, template.Must(template.New("").Parse(suiteTemplate)).Execute(&page, map[string]any{
		"Rows": rows, "All": len(rows), "Patience": suitePatience, "Many": fmt.Sprintf("%d,000,000", manyUsers/1_000_000), "Few": fmt.Sprintf("%d,000", fewUsers/1000),
		"Squawk":    squawktest.Version,
		"Dangerous": count(func(r suiteRow) bool { return r.Dangerous }),
		"Harmless":  count(func(r suiteRow) bool { return !r.Dangerous }),
		"Refused":   count(func(r suiteRow) bool { return r.Dangerous && r.Refused }),
		"Proven":    count(func(r suiteRow) bool { return !r.Dangerous && !r.Refused }),
		"Hits":      count(func(r suiteRow) bool { return r.Dangerous && special(r) }),
		"Misses":    count(func(r suiteRow) bool { return r.Dangerous && !special(r) }),
		"Alarms":    count(func(r suiteRow) bool { return !r.Dangerous && special(r) }),
		"Quiet":     count(func(r suiteRow) bool { return !r.Dangerous && !special(r) }),
		"AnyHits":   count(func(r suiteRow) bool { return r.Dangerous && len(r.Squawk) > 0 }),
		"AnyAlarms": count(func(r suiteRow) bool { return !r.Dangerous && len(r.Squawk) > 0 }),
	}))
	if *update {
		require.NoError(t, os.WriteFile(suitePage, page.Bytes(), 0o644))
		return
	}
	have, err := os.ReadFile(suitePage)
	require.NoError(t, err)
	assert.Equal(t, steadyPage(string(have)), steadyPage(page.String()), "docs/suite.md has drifted: write it anew with -update")
}

func steadyPage(page string) string {
	var lines []string
	for l := range strings.Lines(page) {
		lines = append(lines, steady(strings.TrimSpace(l)))
	}
	return strings.Join(lines, "\n")
}

func TestPageOfTheSuiteMayChangeInFiguresAlone(t *testing.T) {
	const line = "| 01_x | dangerous: `SELECT` waits 1s | refused: blocked-reads, blocked-writes | flags: a | both |"
	for name, test := range map[string]struct {
		other string
		same  bool
	}{
		"another figure":                 {"| 01_x | dangerous: `UPDATE` waits 2s | refused: blocked-reads, blocked-writes | flags: a | both |", true},
		"readers or writers":             {"| 01_x | dangerous: `SELECT` waits 1s | refused: blocked-writes | flags: a | both |", true},
		"another label":                  {"| 01_x | harmless: `SELECT` waits 1s | refused: blocked-reads, blocked-writes | flags: a | both |", false},
		"another verdict":                {"| 01_x | dangerous: `SELECT` waits 1s | proven | flags: a | both |", false},
		"another finding":                {"| 01_x | dangerous: `SELECT` waits 1s | refused: breaks-running-release | flags: a | both |", false},
		"another rule of squawk":         {"| 01_x | dangerous: `SELECT` waits 1s | refused: blocked-reads, blocked-writes | flags: b | both |", false},
		"somebody else who is right":     {"| 01_x | dangerous: `SELECT` waits 1s | refused: blocked-reads, blocked-writes | flags: a | squawk |", false},
		"a figure with a pipe within it": {"| 01_x | dangerous: `a \\| b` waits 1s | refused: blocked-reads, blocked-writes | flags: a | both |", true},
	} {
		t.Run(name, func(t *testing.T) {
			assert.Equal(t, test.same, steady(line) == steady(test.other))
		})
	}
}
