package migrations

import (
	"fmt"
	"strings"
	"unicode/utf8"
)

// noTransaction is the comment by which a file asks to be run statement by statement outside a transaction.
const noTransaction = "-- deploy: no-transaction"

// byteOrderMark is what some editors put at the start of a file; psql removes it too.
const byteOrderMark = "\ufeff"

// script is a migration's file, ready to run. Its text is as long as the file's, byte for byte, so that positions the
// server names are positions in the file.
type script struct {
	file       string // for people
	source     string // as it is in the file
	text       string // as it is run
	statements []statement
	outside    bool // it cannot or must not run in a transaction
}

// parse looks at a file without a database. It refuses what would break the promise that a file, its version and
// nothing else are committed together, and what would hang (COPY FROM STDIN has nobody to send it the rows).
func parse(file, body string) (*script, error) {
	body = strings.TrimPrefix(body, byteOrderMark)
	s := &script{file: file, source: body}
	if at := strings.IndexByte(body, 0); at >= 0 {
		return nil, s.fault(at, "a NUL byte: is the file UTF-16? Save it as UTF-8")
	}
	if !utf8.ValidString(body) {
		return nil, s.fault(invalidUTF8(body), "not UTF-8: save the file as UTF-8")
	}
	found := split(body)
	if found.backslash >= 0 {
		return nil, s.fault(found.backslash, "a command of psql, which only psql knows: remove the line")
	}
	text := []byte(body)
	for _, at := range found.breakpoints {
		blank(text, at, at+len(breakpoint))
		text[at] = ';'
	}
	s.statements = unwrap(found.statements, text)
	s.text = string(text)
	for _, st := range s.statements {
		if why := refusal(st); why != "" {
			return nil, s.fault(st.start, "%s", why)
		}
		s.outside = s.outside || outsideTransaction(st)
	}
	for _, c := range found.comments {
		s.outside = s.outside || strings.TrimSpace(c) == noTransaction
	}
	return s, nil
}

func (s *script) fault(at int, format string, args ...any) error {
	line, column := lineColumn(s.source, at)
	return fmt.Errorf("%s:%d:%d: %s", s.file, line, column, fmt.Sprintf(format, args...))
}

// unwrap removes BEGIN at the start and COMMIT at the end, which golang-migrate's documentation told people to write:
// every file runs in a transaction here.
func unwrap(statements []statement, text []byte) []statement {
	if len(statements) < 2 {
		return statements
	}
	first, last := statements[0], statements[len(statements)-1]
	if !plainly(first, "BEGIN") && !(first.begins("START", "TRANSACTION") && len(first.words) == 2) {
		return statements
	}
	if !plainly(last, "COMMIT") && !plainly(last, "END") {
		return statements
	}
	blank(text, first.start, first.end)
	blank(text, last.start, last.end)
	return statements[1 : len(statements)-1]
}

// plainly is a statement of one word, with or without a word that means nothing.
func plainly(s statement, word string) bool {
	return s.begins(word) && (len(s.words) == 1 || len(s.words) == 2 && (s.words[1] == "WORK" || s.words[1] == "TRANSACTION"))
}

func blank(text []byte, start, end int) {
	for i := start; i < end; i++ {
		if text[i] != '\n' && text[i] != '\r' {
			text[i] = ' '
		}
	}
}

// refusal says why a statement must not be in a migration.
func refusal(s statement) string {
	const control = "a migration must not control transactions: the file runs in one, together with its version; remove the statement"
	switch {
	case s.begins("ROLLBACK") && s.has("TO"): // a savepoint within our transaction
		return ""
	case s.begins("BEGIN"), s.begins("START", "TRANSACTION"), s.begins("COMMIT"), s.begins("END"), s.begins("ROLLBACK"),
		s.begins("ABORT"), s.begins("PREPARE", "TRANSACTION"):
		return control
	case s.begins("DISCARD", "ALL"):
		return "DISCARD ALL would release the lock that keeps other migrations out: remove the statement"
	case s.begins("COPY") && (s.has("STDIN") || s.has("STDOUT")):
		return "COPY from or to the client needs psql: write INSERT"
	}
	return ""
}

// outsideTransaction says whether PostgreSQL refuses a statement in a transaction block (the callers of
// PreventInTransactionBlock in its source). What is missed here, such as REINDEX of a partitioned table, fails with
// 25001, whose error says to write noTransaction.
func outsideTransaction(s statement) bool {
	switch {
	case s.begins("VACUUM"), s.begins("ALTER", "SYSTEM"),
		s.begins("CREATE", "DATABASE"), s.begins("DROP", "DATABASE"),
		s.begins("CREATE", "TABLESPACE"), s.begins("DROP", "TABLESPACE"),
		s.begins("CREATE", "SUBSCRIPTION"), s.begins("DROP", "SUBSCRIPTION"), s.begins("ALTER", "SUBSCRIPTION"):
		return true
	case s.begins("ALTER", "DATABASE"):
		return s.has("SET", "TABLESPACE")
	case s.begins("CLUSTER"):
		return len(s.words) == 1 || len(s.words) == 2 && s.words[1] == "VERBOSE"
	case s.begins("REINDEX"):
		return s.has("CONCURRENTLY") || s.has("DATABASE") || s.has("SYSTEM") || s.has("SCHEMA")
	}
	return concurrent(s)
}

// concurrent is a statement that waits for other transactions without keeping anybody out meanwhile.
func concurrent(s statement) bool {
	switch {
	case s.begins("CREATE", "INDEX", "CONCURRENTLY"), s.begins("CREATE", "UNIQUE", "INDEX", "CONCURRENTLY"),
		s.begins("DROP", "INDEX", "CONCURRENTLY"):
		return true
	case s.begins("ALTER", "TABLE"):
		return s.has("DETACH", "PARTITION") && s.has("CONCURRENTLY")
	case s.begins("REINDEX"):
		return s.has("CONCURRENTLY")
	}
	return false
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

// lineColumn counts from 1, columns in characters, as editors do.
func lineColumn(text string, at int) (line, column int) {
	before := text[:min(max(at, 0), len(text))]
	return strings.Count(before, "\n") + 1, utf8.RuneCountInString(before[strings.LastIndexByte(before, '\n')+1:]) + 1
}
