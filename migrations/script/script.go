// Package script reads the text of a migration without a database: where its statements are, which of them cannot run in a
// transaction, what its comments declare, and where in the file an error of the server is. It runs nothing.
package script

import (
	"bytes"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"unicode/utf8"
)

// byteOrderMark is what some editors put at the start of a file; psql removes it too.
const byteOrderMark = "\ufeff"

// Script is a migration's file, ready to run. Its text is as long as the file's, byte for byte, so that positions the
// server names are positions in the file.
type Script struct {
	File       string // for people
	Source     string // as it is in the file
	Text       string // as it is run
	Statements []Statement
	Outside    bool // it cannot or must not run in a transaction
	Declared   Declared

	segments []segment // the files that it joins
}

// Parse looks at a file without a database. It refuses what would break the promise that a file, its version and
// nothing else are committed together, and what would hang (COPY FROM STDIN has nobody to send it the rows). The error
// says where: FILE:LINE:COLUMN.
func Parse(file, body string) (*Script, error) {
	body = strings.TrimPrefix(body, byteOrderMark)
	s := &Script{File: file, Source: body}
	if at := strings.IndexByte(body, 0); at >= 0 {
		return nil, s.fault(at, "a NUL byte: is the file UTF-16? Save it as UTF-8")
	}
	if !utf8.ValidString(body) {
		return nil, s.fault(invalidUTF8(body), "not UTF-8: save the file as UTF-8")
	}
	found := split(body)
	s.segments = found.segments
	if found.backslash >= 0 {
		return nil, s.fault(found.backslash, "a command of psql, which only psql knows: remove the line")
	}
	text := []byte(body)
	for _, at := range found.breakpoints {
		blank(text, at, at+len(breakpoint))
		text[at] = ';'
	}
	for _, part := range found.segments {
		part.end(text)
	}
	s.Statements = bounded(s.unwrapEach(found.statements, text), text)
	s.Text = string(text)
	for _, c := range found.comments {
		if err := s.declare(c); err != nil {
			return nil, err
		}
	}
	for _, st := range s.Statements {
		if why := refusal(st); why != "" {
			return nil, s.fault(st.Start, "%s", why)
		}
		s.Outside = s.Outside || OutsideTransaction(st)
	}
	s.Outside = s.Outside || s.Declared.NoTransaction || s.Declared.Backfill != nil
	return s, s.checkBackfill()
}

// SQL is the text of a statement, by its place.
func (s *Script) SQL(i int) string { return s.Text[s.Statements[i].Start:s.Statements[i].End] }

// Plain is the text of a statement without comments, which become blanks.
func (s *Script) Plain(i int) string {
	st := s.Statements[i]
	text := []byte(s.Text[st.Start:st.End])
	for _, c := range split(string(text)).skipped {
		blank(text, c.start, c.end)
	}
	return string(text)
}

// Line is the line of its file that a statement begins in, from 1.
func (s *Script) Line(i int) int {
	_, line := s.Place(i)
	return line
}

func (s *Script) fault(at int, format string, args ...any) error {
	file, line, column := s.Position(at)
	return fmt.Errorf("%s:%d:%d: %s", file, line, column, fmt.Sprintf(format, args...))
}

// unwrap removes BEGIN at the start and COMMIT at the end, which golang-migrate's documentation told people to write:
// every file runs in a transaction here.
func unwrap(statements []Statement, text []byte) []Statement {
	if len(statements) < 2 {
		return statements
	}
	first, last := statements[0], statements[len(statements)-1]
	if !plainly(first, "BEGIN") && !(first.Begins("START", "TRANSACTION") && len(first.Words) == 2) {
		return statements
	}
	if !plainly(last, "COMMIT") && !plainly(last, "END") {
		return statements
	}
	blank(text, first.Start, first.End)
	blank(text, last.Start, last.End)
	return statements[1 : len(statements)-1]
}

// endless is a setting by which a statement would wait for ever. pg_dump writes such settings at the head of what it dumps.
var endless = regexp.MustCompile(`(?i)^(?:set\s+(?:session\s+|local\s+)?(?:lock_timeout|statement_timeout|idle_in_transaction_session_timeout)\s*(?:=|to)\s*(?:'?0(?:ms|s|min|h|d)?'?|default)|reset\s+(?:lock_timeout|statement_timeout|idle_in_transaction_session_timeout|all))$`)

// bounded leaves out the statements that take the timeouts away: a migration may choose others, but none without end.
func bounded(statements []Statement, text []byte) []Statement {
	return slices.DeleteFunc(slices.Clone(statements), func(st Statement) bool {
		if !endless.Match(bytes.TrimSpace(text[st.Start:st.End])) {
			return false
		}
		blank(text, st.Start, st.End)
		return true
	})
}

// plainly is a statement of one word, with or without a word that means nothing.
func plainly(s Statement, word string) bool {
	return s.Begins(word) && (len(s.Words) == 1 || len(s.Words) == 2 && (s.Words[1] == "WORK" || s.Words[1] == "TRANSACTION"))
}

func blank(text []byte, start, end int) {
	for i := start; i < end; i++ {
		if text[i] != '\n' && text[i] != '\r' {
			text[i] = ' '
		}
	}
}

// refusal says why a statement must not be in a migration.
func refusal(s Statement) string {
	const control = "a migration must not control transactions: the file runs in one, together with its version; remove the statement"
	switch {
	case s.Begins("ROLLBACK") && s.Has("TO"): // a savepoint within our transaction
		return ""
	case s.Begins("BEGIN"), s.Begins("START", "TRANSACTION"), s.Begins("COMMIT"), s.Begins("END"), s.Begins("ROLLBACK"),
		s.Begins("ABORT"), s.Begins("PREPARE", "TRANSACTION"):
		return control
	case s.Begins("DISCARD", "ALL"):
		return "DISCARD ALL would release the lock that keeps other migrations out: remove the statement"
	case s.Begins("COPY") && (s.Has("STDIN") || s.Has("STDOUT")):
		return "COPY from or to the client needs psql: write INSERT"
	}
	return ""
}

func invalidUTF8(text string) int {
	for i := 0; i < len(text); {
		r, size := utf8.DecodeRuneInString(text[i:])
		if r == utf8.RuneError && size == 1 {
			return i
		}
		i += size
	}
	return len(text)
}

// LineColumn counts from 1, columns in characters, as editors do.
func LineColumn(text string, at int) (line, column int) {
	before := text[:min(max(at, 0), len(text))]
	return strings.Count(before, "\n") + 1, utf8.RuneCountInString(before[strings.LastIndexByte(before, '\n')+1:]) + 1
}
