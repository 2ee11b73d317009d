package report

import (
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/metaextract/pipeline/migrations/finding"
)

func TestMarkdownOfARehearsal(t *testing.T) {
	golden(t, "migrations-refused.md", inMarkdown(t, withRehearsal(refusedSample(), refusedRehearsal())))
	golden(t, "migrations-proven.md", inMarkdown(t, withRehearsal(passedSample(), provenRehearsal())))
}

func TestMarkdownOfManyStatementsIsBoundedAndWhole(t *testing.T) {
	text := inMarkdown(t, withRehearsal(passedSample(), manyStatements()))
	assert.Less(t, len(text), 30_000)
	for _, part := range []string{"… and 188 more in the report, none of them worse", "… and 88 refusals more in the report", "… and 92 warnings more in the report", "100 notes in the report", "### Notes"} {
		assert.Contains(t, text, part)
	}
	assert.Zero(t, strings.Count(text, "```")%2, "no fence is left open")
}

// codeSpan is one of text with backticks, or without.
var codeSpan = regexp.MustCompile("`` .*? ``|`[^`\n]+`")

func TestTextOfARehearsalIsNotMarkdown(t *testing.T) {
	_, section, found := strings.Cut(inMarkdown(t, withRehearsal(passedSample(), hostileRehearsal())), "### Database")
	require.True(t, found)
	outside, fenced := "", ""
	for l := range strings.Lines(section) {
		ticks := len(l) - len(strings.TrimLeft(l, "`"))
		switch {
		case fenced == "" && ticks >= 3:
			fenced = l[:ticks]
		case fenced != "" && strings.TrimSpace(l) == fenced:
			fenced = ""
		case fenced == "":
			outside += l
		}
	}
	assert.Empty(t, fenced, "every fence is closed")
	for l := range strings.Lines(outside) {
		if strings.HasPrefix(l, "| ") {
			assert.Contains(t, []int{4, 10}, strings.Count(strings.ReplaceAll(l, `\|`, ""), "|"), l)
		}
	}
	prose := codeSpan.ReplaceAllString(strings.ReplaceAll(outside, "\\`", ""), "")
	for _, evil := range []string{"<script", "<img", "@everyone", "\x1b"} {
		assert.False(t, strings.Contains(prose, evil), evil)
	}
}

func TestAParameterOfAStatementBeginsNoFormula(t *testing.T) {
	assert.Equal(t, `WHERE a = \$1 AND b = \$2`, prose("WHERE a = $1 AND b = $2"), "GitHub sets what is between dollars as mathematics")
}

func TestRefusalsAreAnnotatedAtTheirStatements(t *testing.T) {
	run := withRehearsal(passedSample(), refusedRehearsal())
	run.Verdict = Refused
	var b strings.Builder
	require.NoError(t, WriteAnnotations(&b, run))
	lines := strings.Split(strings.TrimSpace(b.String()), "\n")
	assert.Len(t, lines, 6)
	assert.Contains(t, lines[4], "::error title=migrations%3A blocked-reads,file=migrations/0003_accounts.sql,line=1::the migration keeps readers")
	assert.Contains(t, lines[4], "%0AALTER TABLE public.accounts ADD COLUMN visits_new bigint;%0A", "with what to do")
	assert.Contains(t, lines[0], "::error title=migrations%3A plan-index-lost::a query used index", "one without a place has none")

	run = withRehearsal(refusedSample(), manyStatements())
	b.Reset()
	require.NoError(t, WriteAnnotations(&b, run))
	assert.Equal(t, maxAnnotations, strings.Count(b.String(), "::error "), "failures first, and no more than are shown")
	assert.Equal(t, maxAnnotations-len(run.Failures), strings.Count(b.String(), "::error title=migrations%3A"))

	b.Reset()
	require.NoError(t, WriteAnnotations(&b, withRehearsal(hostileSample(), hostileRehearsal())))
	for l := range strings.Lines(b.String()) {
		assert.True(t, strings.HasPrefix(l, "::error title="), l)
		assert.NotContains(t, l, "##[")
	}
}

func TestWarningsAreNotAnnotated(t *testing.T) {
	r := provenRehearsal()
	r.Findings = append(r.Findings, finding.Finding{Name: "drift", Level: finding.Warn, File: "a.sql", Line: 1})
	var b strings.Builder
	require.NoError(t, WriteAnnotations(&b, withRehearsal(passedSample(), r)))
	assert.Empty(t, b.String())
}
