package notify

import (
	"fmt"
	"strings"
	"unicode"

	"github.com/slack-go/slack"

	"github.com/metaextract/pipeline/ci/report"
)

// Slack's limits (docs.slack.dev, Block Kit reference) and ours below them.
const (
	maxSection  = 3000 // characters of a section's text
	maxField    = 2000
	maxBlocks   = 50
	maxFailures = 15 // in the thread; two blocks each leave room for the evidence
	maxReasons  = 3  // in the message
	maxTitle    = 150
	maxMessage  = 1200
	maxCommand  = 600
)

// started is the message of a run that begins.
func started(m Message) []slack.MsgOption {
	title := strings.TrimSpace(m.Application + " " + m.Release)
	text := "Rehearsing " + title
	blocks := []slack.Block{section(":hourglass_flowing_sand: *" + escape(text, maxTitle) + "*")}
	return options(text, append(blocks, about(m)...))
}

// finished is the same message with the verdict.
func finished(m Message) []slack.MsgOption {
	r := m.Report
	headline := r.Headline()
	blocks := []slack.Block{section(icon(r.Verdict) + " *" + escape(headline, maxTitle) + "*")}
	if len(r.Reasons) > 0 {
		var b strings.Builder
		for i, reason := range r.Reasons {
			if i == maxReasons {
				fmt.Fprintf(&b, "…and %d more\n", len(r.Reasons)-i)
				break
			}
			b.WriteString("• " + escape(reason, 2*maxTitle) + "\n")
		}
		blocks = append(blocks, section(b.String()))
	}
	if numbers := numbers(r); numbers != "" {
		blocks = append(blocks, section(numbers))
	}
	text := headline
	if len(r.Reasons) > 0 {
		text += ". " + r.Reasons[0]
	}
	return options(text, append(blocks, about(m)...))
}

// options are the parts of a message: blocks, and text for notifications and screen readers.
func options(text string, blocks []slack.Block) []slack.MsgOption {
	return []slack.MsgOption{
		slack.MsgOptionText(escape(text, 2*maxTitle), false),
		slack.MsgOptionBlocks(blocks...),
		slack.MsgOptionDisableLinkUnfurl(),
	}
}

func icon(v report.Verdict) string {
	switch v {
	case report.Proven:
		return ":white_check_mark:"
	case report.Refused:
		return ":x:"
	default:
		return ":warning:"
	}
}

// about says what is rehearsed, by whom and where.
func about(m Message) []slack.Block {
	var fields []*slack.TextBlockObject
	field := func(name, value string) {
		if value != "" {
			fields = append(fields, slack.NewTextBlockObject(slack.MarkdownType, "*"+name+"*\n"+escape(value, maxTitle), false, false))
		}
	}
	field("Release", m.Release)
	field("Running now", m.From)
	field("Environment", m.Environment)
	field("Started by", m.Who)
	field("On", m.Where)
	var blocks []slack.Block
	if len(fields) > 0 {
		blocks = append(blocks, slack.NewSectionBlock(nil, fields, nil))
	}
	if strings.HasPrefix(m.Link, "https://") || strings.HasPrefix(m.Link, "http://") {
		if !strings.ContainsAny(m.Link, "<>| \n") && len(m.Link) < maxSection/2 {
			blocks = append(blocks, section("<"+escape(m.Link, maxSection/2)+"|Open the run>"))
		}
	}
	return blocks
}

// numbers are the figures of a rehearsal.
func numbers(r *report.Report) string {
	var lines []string
	if r.Traffic != nil {
		lines = append(lines, "*Traffic* "+r.Traffic.Dropped()+" · "+r.Traffic.Latency())
	}
	if r.Rollback != nil {
		proof := "proven"
		if !r.Rollback.Proven {
			proof = "not proven"
		}
		lines = append(lines, "*Rollback* "+proof+", "+r.Rollback.Summary())
	}
	if r.Database != nil {
		lines = append(lines, "*Database* "+escape(r.Database.Summary(), maxField))
	}
	return strings.Join(lines, "\n")
}

// details are the blocks of the thread: every failure with its command, then the notes.
func details(r *report.Report) []slack.Block {
	var blocks []slack.Block
	for i, f := range r.Failures {
		if i == maxFailures {
			blocks = append(blocks, section(fmt.Sprintf("…and %d more failures in the report", len(r.Failures)-i)))
			break
		}
		blocks = append(blocks, failure(f)...)
	}
	if len(r.Notes) > 0 {
		var b strings.Builder
		b.WriteString("*Notes*\n")
		for _, note := range r.Notes {
			b.WriteString("• " + escape(note, 2*maxTitle) + "\n")
		}
		blocks = append(blocks, section(b.String()))
	}
	if r.Path != "" && len(blocks) > 0 {
		blocks = append(blocks, section("Report: "+code(r.Path, maxTitle)))
	}
	return blocks[:min(len(blocks), maxBlocks)]
}

// failure is one failure: what and where, then the message and the command.
func failure(f report.Failure) []slack.Block {
	head := ":small_red_triangle: *" + escape(f.Title, maxTitle) + "*"
	about := escape(f.Step, maxTitle)
	if place := f.Place(); place != "" {
		about = code(place, maxTitle) + " · " + about
	}
	head += "\n" + about
	var body strings.Builder
	if f.Message != "" {
		body.WriteString(fence(f.Message, maxMessage))
	}
	if f.Example != "" {
		body.WriteString("Counterexample " + code(f.Example, maxTitle) + "\n")
	}
	if f.Replay != "" {
		body.WriteString(code(f.Replay, 2*maxTitle) + "\n")
	} else if f.Seed != "" {
		body.WriteString("Seed " + code(f.Seed, maxTitle) + "\n")
	}
	if f.Reproduce != "" {
		body.WriteString(fence(f.Reproduce, maxCommand))
	}
	blocks := []slack.Block{section(head)}
	if body.Len() > 0 {
		blocks = append(blocks, section(body.String()))
	}
	return blocks
}

// section is a block of text within the limit of one. What is put together from limited parts fits already; where it
// does not, whole lines are left out, so that no escape or fence is cut in two.
func section(text string) *slack.SectionBlock {
	text = strings.TrimRight(text, "\n")
	for len([]rune(text)) > maxSection {
		cut := strings.LastIndexByte(text, '\n')
		if cut < 0 {
			text = string([]rune(text)[:maxSection])
			break
		}
		text = text[:cut]
	}
	return slack.NewSectionBlock(slack.NewTextBlockObject(slack.MarkdownType, text, false, false), nil, nil)
}

// escape is text from outside on one line of at most n characters after escaping: it mentions nobody and links nothing.
func escape(s string, n int) string {
	return clip(strings.Join(strings.Fields(s), " "), n)
}

// clip escapes &, < and > and drops control characters, within n characters.
func clip(s string, n int) string {
	var b strings.Builder
	used := 0
	for _, r := range strings.ToValidUTF8(s, "\uFFFD") {
		piece := string(r)
		switch {
		case r == '&':
			piece = "&amp;"
		case r == '<':
			piece = "&lt;"
		case r == '>':
			piece = "&gt;"
		case unicode.IsControl(r) && r != '\n' && r != '\t', unicode.Is(unicode.Bidi_Control, r):
			continue
		}
		if used += len([]rune(piece)); used > n-1 {
			b.WriteString("…")
			break
		}
		b.WriteString(piece)
	}
	return b.String()
}

// code is text as a code span.
func code(s string, n int) string {
	return "`" + strings.ReplaceAll(escape(s, n-2), "`", "'") + "`"
}

// fence is text as a code block that it cannot leave.
func fence(s string, n int) string {
	return "```" + strings.ReplaceAll(clip(strings.Trim(s, "\n"), n-8), "```", "'''") + "```\n"
}
