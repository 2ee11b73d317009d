package report

import (
	"strings"
	"unicode"

	"github.com/metaextract/pipeline/migrations/finding"
	"github.com/metaextract/pipeline/migrations/rehearsal"
)

// paint colours text for a terminal, or leaves it alone.
type paint bool

func (p paint) style(code, s string) string {
	if !p || s == "" {
		return s
	}
	return "\x1b[" + code + "m" + s + "\x1b[0m"
}

func (p paint) bold(s string) string   { return p.style("1", s) }
func (p paint) dim(s string) string    { return p.style("2", s) }
func (p paint) red(s string) string    { return p.style("31", s) }
func (p paint) green(s string) string  { return p.style("32", s) }
func (p paint) yellow(s string) string { return p.style("33", s) }
func (p paint) cyan(s string) string   { return p.style("36", s) }

// badge is a verdict as a block of colour.
func (p paint) badge(v Verdict) string {
	word := v.word()
	if !p {
		return word
	}
	code := "1;30;43" // broken: yellow
	switch v {
	case Proven:
		code = "1;30;42"
	case Refused:
		code = "1;97;41"
	}
	return p.style(code, " "+word+" ")
}

// mark is a status as one character.
func (p paint) mark(s Status) string {
	switch s {
	case Passed:
		return p.green("✓")
	case Failed:
		return p.red("✗")
	case Skipped:
		return p.dim("-")
	default:
		return p.cyan("●")
	}
}

// word is the verdict on a part of a rehearsal as one character; "" is what was not looked at.
func (p paint) word(w rehearsal.Word) string {
	switch w {
	case rehearsal.Pass:
		return p.green("✓")
	case rehearsal.Warn:
		return p.yellow("!")
	case rehearsal.Refuse:
		return p.red("✗")
	default:
		return p.dim("-")
	}
}

// level is the level of a finding as one character.
func (p paint) level(l finding.Level) string {
	switch l {
	case finding.Refuse:
		return p.word(rehearsal.Refuse)
	case finding.Warn:
		return p.word(rehearsal.Warn)
	default:
		return p.word("")
	}
}

// worded colours text like the word's mark.
func (p paint) worded(w rehearsal.Word, text string) string {
	switch w {
	case rehearsal.Pass:
		return p.green(text)
	case rehearsal.Warn:
		return p.yellow(text)
	case rehearsal.Refuse:
		return p.red(text)
	default:
		return text
	}
}

// diff colours a line of a failure message that reads like a diff.
func (p paint) diff(l string) string {
	trimmed := strings.TrimSpace(l)
	switch {
	case strings.HasPrefix(trimmed, "+ "), strings.HasPrefix(trimmed, "Received:"):
		return p.red(l)
	case strings.HasPrefix(trimmed, "- "), strings.HasPrefix(trimmed, "Expected:"):
		return p.green(l)
	default:
		return l
	}
}

// cells is the width of a character in a terminal.
func cells(r rune) int {
	switch {
	case r < 0x300:
		return 1
	case unicode.In(r, unicode.Mn, unicode.Me, unicode.Cf):
		return 0
	case r >= 0x1100 && r <= 0x115f, r >= 0x2e80 && r <= 0xa4cf, r >= 0xac00 && r <= 0xd7a3, r >= 0xf900 && r <= 0xfaff,
		r >= 0xfe30 && r <= 0xfe6f, r >= 0xff00 && r <= 0xff60, r >= 0xffe0 && r <= 0xffe6, r >= 0x1f300 && r <= 0x1faff,
		r >= 0x20000 && r <= 0x3fffd:
		return 2
	default:
		return 1
	}
}

// width is the width of a line in a terminal, without its control sequences.
func width(s string) int {
	n := 0
	for _, r := range escapes.ReplaceAllString(s, "") {
		n += cells(r)
	}
	return n
}

// fit shortens a line to a width, keeps its control sequences and ends the ones it cut.
func fit(s string, columns int) string {
	if width(s) <= columns {
		return s
	}
	var b strings.Builder
	used, styled := 0, false
	for len(s) > 0 {
		if loc := escapes.FindStringIndex(s); loc != nil && loc[0] == 0 {
			b.WriteString(s[:loc[1]])
			styled, s = true, s[loc[1]:]
			continue
		}
		for _, r := range s {
			if used+cells(r) > columns-1 {
				b.WriteString("…")
				if styled {
					b.WriteString("\x1b[0m")
				}
				return b.String()
			}
			used += cells(r)
			b.WriteRune(r)
			s = s[len(string(r)):]
			break
		}
	}
	return b.String()
}

// pad fills a line with spaces up to a width.
func pad(s string, columns int) string {
	return s + strings.Repeat(" ", max(columns-width(s), 0))
}

// padLeft moves a line to the right edge of a width.
func padLeft(s string, columns int) string {
	return strings.Repeat(" ", max(columns-width(s), 0)) + s
}

// wrap breaks text into lines of at most a width, between words where it can.
func wrap(s string, columns int) []string {
	columns = max(columns, 10)
	var lines []string
	current := ""
	for _, word := range strings.Fields(s) {
		for width(word) > columns {
			head := strings.TrimSuffix(fit(word, columns), "…")
			if current != "" {
				lines, current = append(lines, current), ""
			}
			lines, word = append(lines, head), strings.TrimPrefix(word, head)
		}
		switch {
		case current == "":
			current = word
		case width(current)+1+width(word) <= columns:
			current += " " + word
		default:
			lines, current = append(lines, current), word
		}
	}
	if current != "" || len(lines) == 0 {
		lines = append(lines, current)
	}
	return lines
}

// wrapped is text from outside as at most n lines.
func wrapped(s string, columns, n int) []string {
	lines := wrap(line(s), columns)
	if len(lines) > n {
		lines = append(lines[:n-1:n-1], fit(strings.Join(lines[n-1:], " "), columns))
	}
	return lines
}
