package report

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func inMarkdown(t *testing.T, r *Report) string {
	t.Helper()
	var b strings.Builder
	require.NoError(t, WriteMarkdown(&b, r))
	return b.String()
}

func TestMarkdown(t *testing.T) {
	golden(t, "refused.md", inMarkdown(t, refusedSample()))
	golden(t, "passed.md", inMarkdown(t, passedSample()))
	golden(t, "broken.md", inMarkdown(t, brokenSample()))
}

func TestMarkdownStaysWithinAComment(t *testing.T) {
	r := refusedSample()
	for i := range 2000 {
		f := r.Failures[i%3]
		f.Title = fmt.Sprint("failure ", i)
		r.Failures = append(r.Failures, f)
	}
	text := inMarkdown(t, r)
	assert.LessOrEqual(t, len(text), 65_536)
	assert.Greater(t, len(text), 60_000, "most of what fits is there")
	assert.Contains(t, text, "The rest was cut")
	assert.Zero(t, strings.Count(text, "```")%2, "no fence is left open")
	assert.Equal(t, strings.Count(text, "<details>"), strings.Count(text, "</details>"))
}

func TestTextFromOutsideIsNotMarkdown(t *testing.T) {
	r := hostileSample()
	r.Failures = r.Failures[:1]
	text := inMarkdown(t, r)
	outside := ""
	inFence := ""
	for l := range strings.Lines(text) {
		ticks := len(l) - len(strings.TrimLeft(l, "`"))
		switch {
		case inFence == "" && ticks >= 3:
			inFence = l[:ticks]
		case inFence != "" && strings.TrimSpace(l) == inFence:
			inFence = ""
		case inFence == "" && !strings.HasPrefix(l, "`") && !strings.HasPrefix(l, "Counterexample"):
			outside += l
		}
	}
	assert.Empty(t, inFence, "every fence is closed")
	for _, evil := range []string{"<script", "<img", "@everyone", "\x1b"} {
		assert.False(t, strings.Contains(outside, evil), evil)
	}
	assert.NotRegexp(t, `[^\\]\]\(`, outside, "no link")
	for l := range strings.Lines(outside) {
		if strings.HasPrefix(l, "| ") {
			assert.Contains(t, []int{5, 7}, strings.Count(strings.ReplaceAll(l, `\|`, ""), "|"), l)
		}
	}
}

func TestJSONHasTheFixedNamesAndNoNullLists(t *testing.T) {
	var b strings.Builder
	require.NoError(t, WriteJSON(&b, passedSample()))
	var got struct {
		Verdict  string
		Reasons  []string
		Traffic  struct{ Requests, Failed int }
		Rollback struct{ Seconds float64 }
		Stages   []struct {
			Name, Status string
			Seconds      float64
			Cached       bool
		}
		Report string
	}
	require.NoError(t, json.Unmarshal([]byte(b.String()), &got))
	assert.Equal(t, "proven", got.Verdict)
	assert.Equal(t, []string{}, got.Reasons)
	assert.Equal(t, 5027, got.Traffic.Requests)
	assert.Equal(t, 0.214, got.Rollback.Seconds)
	assert.Equal(t, "check", got.Stages[0].Name)
	assert.Equal(t, "passed", got.Stages[0].Status)
	assert.Equal(t, ".pipeline/report.html", got.Report)
	for _, name := range []string{`"verdict"`, `"reasons"`, `"traffic"`, `"requests"`, `"failed"`, `"rollback"`, `"seconds"`, `"stages"`, `"name"`, `"status"`, `"cached"`, `"report"`} {
		assert.Contains(t, b.String(), name)
	}

	b.Reset()
	require.NoError(t, WriteJSON(&b, &Report{Traffic: &Traffic{}}))
	assert.NotContains(t, b.String(), "null")
}
