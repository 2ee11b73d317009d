package notify

import (
	"strings"
	"testing"
	"testing/quick"
	"unicode/utf8"

	"github.com/slack-go/slack"
	"github.com/stretchr/testify/assert"

	"github.com/metaextract/pipeline/ci/report"
)

func TestMessagesStayWithinTheLimitsOfSlack(t *testing.T) {
	long := strings.Repeat("<&> ` ``` * long & wide\n", 900)
	r := &report.Report{
		Verdict: report.Broken, Application: long, Release: long, Path: long,
		Traffic: &report.Traffic{}, Rollback: &report.Rollback{}, Database: &report.Database{},
	}
	for range 80 {
		r.Reasons, r.Notes = append(r.Reasons, long), append(r.Notes, long)
		r.Failures = append(r.Failures, report.Failure{
			Step: long, Title: long, File: long, Line: 1, Message: long, Seed: long, Example: long, Replay: long, Reproduce: long,
		})
	}
	m := Message{Application: long, Release: long, From: long, Environment: long, Who: long, Where: long, Link: "https://" + long, Report: r}
	for name, options := range map[string][]slack.MsgOption{"started": started(m), "finished": finished(m)} {
		_, values, err := slack.UnsafeApplyMsgOptions("token", "channel", "https://slack.com/api/", options...)
		assert.NoError(t, err)
		assert.LessOrEqual(t, utf8.RuneCountInString(values.Get("text")), 300, name)
		assert.NotContains(t, values.Get("text"), "<")
	}
	for _, blocks := range [][]slack.Block{details(r), about(m)} {
		within(t, blocks)
	}
}

// within checks blocks against the reference: at most 50, 3000 characters of text, ten fields of 2000, fences closed.
func within(t *testing.T, blocks []slack.Block) {
	t.Helper()
	assert.LessOrEqual(t, len(blocks), 50)
	for _, block := range blocks {
		s := block.(*slack.SectionBlock)
		if s.Text != nil {
			assert.NotEmpty(t, s.Text.Text)
			assert.LessOrEqual(t, utf8.RuneCountInString(s.Text.Text), 3000)
			assert.Zero(t, strings.Count(s.Text.Text, "```")%2, "every fence is closed")
		}
		assert.LessOrEqual(t, len(s.Fields), 10)
		for _, f := range s.Fields {
			assert.LessOrEqual(t, utf8.RuneCountInString(f.Text), 2000)
		}
	}
}

func TestEscapingKeepsItsLimitAndCutsNoEntity(t *testing.T) {
	law := func(s string, n uint8) bool {
		limit := int(n) + 10
		out := escape(s, limit)
		bare := strings.NewReplacer("&amp;", "", "&lt;", "", "&gt;", "").Replace(out)
		return utf8.RuneCountInString(out) <= limit && !strings.ContainsAny(bare, "&<>\n") && utf8.ValidString(out)
	}
	assert.NoError(t, quick.Check(law, nil))
	assert.NoError(t, quick.Check(func(n uint8) bool { return law(strings.Repeat("<&>", int(n)), n/2) }, nil))
}

func TestAPassedRunWithoutNotesHasNoThread(t *testing.T) {
	assert.Empty(t, details(&report.Report{Verdict: report.Proven, Path: "report.html"}))
}

func TestALinkThatIsNotOneIsLeftOut(t *testing.T) {
	for _, link := range []string{"", "javascript:alert(1)", "https://a|b", "https://a>b", "https://a b"} {
		for _, block := range about(Message{Application: "a", Link: link}) {
			if s := block.(*slack.SectionBlock); s.Text != nil {
				assert.NotContains(t, s.Text.Text, "Open the run", link)
			}
		}
	}
}
