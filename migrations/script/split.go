package script

import (
	"slices"
	"strings"
	"unicode/utf8"
)

// breakpoint is what drizzle-kit writes between statements. To PostgreSQL it is a comment.
const breakpoint = "--> statement-breakpoint"

// Statement is one SQL statement within a text.
type Statement struct {
	Start, End int      // bytes, without white space, comments around it and the semicolon
	Words      []string // its unquoted names and key words, in capitals, also those within parentheses
	Quoted     []string // its quoted names, without the quotes
}

// splitter finds the statements of a text as PostgreSQL's own lexers do (src/backend/parser/scan.l; for semicolons
// within parentheses and function bodies src/fe_utils/psqlscan.l). It is lenient: what is open at the end of the text
// ends there, for the server says better what is wrong.
type splitter struct {
	text string
	at   int

	current    Statement
	open       bool // current has begun
	parens     int
	blocks     int // BEGIN ATOMIC and CASE within it
	statements []Statement

	comments    []comment // those of one line
	segments    []segment
	skipped     []span // comments of either kind
	breakpoints []int
	backslash   int // of the first one outside quotes: a psql command; -1 for none
}

func split(text string) *splitter {
	s := &splitter{text: text, backslash: -1}
	for s.at < len(s.text) {
		s.step()
	}
	s.finish()
	return s
}

// span is a part of the text, in bytes.
type span struct{ start, end int }

// comment is one of one line, with its dashes.
type comment struct {
	at   int
	text string
}

// step consumes at least one byte.
func (s *splitter) step() {
	rest, c := s.text[s.at:], s.text[s.at]
	switch {
	case c == ' ' || c == '\t' || c == '\n' || c == '\r' || c == '\f' || c == '\v':
		s.at++
	case s.beginsFile():
		s.file()
	case strings.HasPrefix(rest, "--"):
		s.comment()
	case strings.HasPrefix(rest, "/*"):
		length := blockComment(rest)
		s.skipped = append(s.skipped, span{s.at, s.at + length})
		s.at += length
	case c == '\'':
		s.token(quoted(rest, '\''))
	case c == '"':
		length := quoted(rest, '"')
		s.token(length)
		s.current.Quoted = append(s.current.Quoted, strings.ReplaceAll(strings.Trim(rest[:length], `"`), `""`, `"`))
	case c == '$':
		s.token(max(1, dollarQuoted(rest)))
	case nameStart(c):
		s.word()
	case c == ';' && s.parens == 0 && s.blocks == 0:
		s.finish()
		s.at++
	default:
		switch c {
		case '(':
			s.parens++
		case ')':
			s.parens = max(0, s.parens-1)
		case '\\':
			if s.backslash < 0 {
				s.backslash = s.at
			}
		}
		s.token(1)
	}
}

// token adds the next bytes to the current statement.
func (s *splitter) token(length int) {
	if !s.open {
		s.current, s.open = Statement{Start: s.at}, true
	}
	s.at += length
	s.current.End = s.at
}

// finish ends the current statement, if one has begun.
func (s *splitter) finish() {
	if s.open {
		s.statements = append(s.statements, s.current)
	}
	s.open, s.parens, s.blocks = false, 0, 0
}

// comment consumes a comment of one line. A breakpoint ends the statement, even one without a semicolon: drizzle-orm
// sends the parts separately.
func (s *splitter) comment() {
	rest := s.text[s.at:]
	if strings.HasPrefix(rest, breakpoint) {
		s.finish()
		s.breakpoints = append(s.breakpoints, s.at)
		s.at += len(breakpoint)
		return
	}
	end := strings.IndexAny(rest, "\n\r")
	if end < 0 {
		end = len(rest)
	}
	s.comments = append(s.comments, comment{s.at, rest[:end]})
	s.skipped = append(s.skipped, span{s.at, s.at + end})
	s.at += end
}

// word consumes a name, a key word or a string with backslashes.
func (s *splitter) word() {
	rest := s.text[s.at:]
	end := 1
	for end < len(rest) && namePart(rest[end]) {
		end++
	}
	if end == 1 && (rest[0] == 'e' || rest[0] == 'E') && len(rest) > 1 && rest[1] == '\'' {
		s.token(1 + escaped(rest[1:]))
		return
	}
	s.token(end)
	s.current.Words = append(s.current.Words, strings.ToUpper(rest[:end]))
	s.block()
}

// block follows BEGIN ATOMIC … END in CREATE FUNCTION and PROCEDURE, where semicolons do not end the statement; psql's
// way of doing it.
func (s *splitter) block() {
	words := s.current.Words
	if s.parens > 0 || !createsRoutine(words) {
		return
	}
	switch words[len(words)-1] {
	case "BEGIN":
		s.blocks++
	case "CASE":
		if s.blocks > 0 {
			s.blocks++
		}
	case "END":
		s.blocks = max(0, s.blocks-1)
	}
}

func createsRoutine(words []string) bool {
	if len(words) < 2 || words[0] != "CREATE" {
		return false
	}
	if len(words) > 3 && words[1] == "OR" && words[2] == "REPLACE" {
		words = words[2:]
	}
	return words[1] == "FUNCTION" || words[1] == "PROCEDURE"
}

// blockComment is the length of a comment, which may hold others.
func blockComment(text string) int {
	depth := 0
	for i := 0; i < len(text); {
		switch {
		case strings.HasPrefix(text[i:], "/*"):
			depth++
			i += 2
		case strings.HasPrefix(text[i:], "*/"):
			depth--
			i += 2
			if depth == 0 {
				return i
			}
		default:
			i++
		}
	}
	return len(text)
}

// quoted is the length of a quoted text in which the quote is doubled.
func quoted(text string, quote byte) int {
	for i := 1; i < len(text); i++ {
		if text[i] != quote {
			continue
		}
		if i+1 >= len(text) || text[i+1] != quote {
			return i + 1
		}
		i++
	}
	return len(text)
}

// escaped is the length of the quoted part of E'…', with the parts that continue it on further lines: they are read with
// backslashes too.
func escaped(text string) int {
	i := 1
	for i < len(text) {
		switch {
		case text[i] == '\\':
			i += 2
		case text[i] != '\'':
			i++
		case i+1 < len(text) && text[i+1] == '\'':
			i += 2
		default:
			next := continuation(text[i+1:])
			if next < 0 {
				return i + 1
			}
			i += 1 + next
		}
	}
	return len(text)
}

// continuation is the length up to and with the quote that goes on with a string, after a line break and any white space
// and comments of one line. It is -1 where the string ends.
func continuation(text string) int {
	broken := false
	for i := 0; i < len(text); i++ {
		switch c := text[i]; {
		case c == '\n' || c == '\r':
			broken = true
		case c == ' ' || c == '\t' || c == '\f' || c == '\v':
		case broken && c == '\'':
			return i + 1
		case strings.HasPrefix(text[i:], "--"):
			end := strings.IndexAny(text[i:], "\n\r")
			if end < 0 {
				return -1
			}
			i += end - 1
		default:
			return -1
		}
	}
	return -1
}

// dollarQuoted is the length of $tag$…$tag$, or 0 where the dollar begins none.
func dollarQuoted(text string) int {
	end := 1
	for end < len(text) && text[end] != '$' {
		if c := text[end]; !namePart(c) || (end == 1 && !nameStart(c)) {
			return 0
		}
		end++
	}
	if end == len(text) {
		return 0
	}
	tag := text[:end+1]
	if closing := strings.Index(text[len(tag):], tag); closing >= 0 {
		return closing + 2*len(tag)
	}
	return len(text)
}

func nameStart(c byte) bool {
	return c == '_' || 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || c >= utf8.RuneSelf
}

func namePart(c byte) bool { return nameStart(c) || c == '$' || '0' <= c && c <= '9' }

// Has says whether the words hold others, one after the other.
func (s Statement) Has(words ...string) bool {
	for i := range s.Words {
		if len(s.Words)-i >= len(words) && slices.Equal(s.Words[i:i+len(words)], words) {
			return true
		}
	}
	return false
}

// Begins says whether the statement's first words are these.
func (s Statement) Begins(words ...string) bool {
	return len(s.Words) >= len(words) && slices.Equal(s.Words[:len(words)], words)
}

// Names are the names that the statement may mean, key words among them: unquoted ones in small letters as PostgreSQL
// reads them, quoted ones as they are, each once.
func (s Statement) Names() []string {
	names := slices.Clone(s.Quoted)
	for _, w := range s.Words {
		names = append(names, strings.ToLower(w))
	}
	slices.Sort(names)
	return slices.Compact(names)
}
