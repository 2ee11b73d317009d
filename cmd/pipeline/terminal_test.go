package main

import (
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/stretchr/testify/assert"
)

func TestTextIsLaidOutForATerminal(t *testing.T) {
	tests := map[string]struct{ text, want string }{
		"a short line stays":                      {"one two\n", "one two\n"},
		"a long line is broken between words":     {"warn: one two three four five\n", "warn: one two three\n  four five\n"},
		"what follows is further right":           {"  one two three four five six\n", "  one two three four\n    five six\n"},
		"a word that is too long has its own":     {"see backups/backup-20260101.dump now\n", "see\n  backups/backup-20260101.dump\n  now\n"},
		"what is to be pasted stays one line":     {"    CREATE INDEX CONCURRENTLY x ON y (z);\n", "    CREATE INDEX CONCURRENTLY x ON y (z);\n"},
		"characters are counted, not bytes":       {"ééééééééé ééééééééé\n", "ééééééééé ééééééééé\n"},
		"a last line without an end has none":     {"one\ntwo", "one\ntwo"},
		"columns keep their distance when broken": {"a    b    c    d    e\n", "a    b    c    d\n  e\n"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) { assert.Equal(t, test.want, lay(test.text, 20, false)) })
	}
}

func TestWordsThatDecideAreColoured(t *testing.T) {
	text := "refuse: a\nwarn: b\nnote: c\nbackup x: NOT proven, FAILED\nbackup y: proven; rehearsal: refused; a note: no level\n"
	want := "\x1b[31mrefuse:\x1b[0m a\n\x1b[33mwarn:\x1b[0m b\n\x1b[2mnote:\x1b[0m c\nbackup x: \x1b[31mNOT proven\x1b[0m, \x1b[31mFAILED\x1b[0m\n" +
		"backup y: \x1b[32mproven\x1b[0m; rehearsal: \x1b[31mrefused\x1b[0m; a note: no level\n"
	assert.Equal(t, want, lay(text, 80, true))
}

func FuzzLayingOutLosesNoWordAndKeepsToTheWidth(f *testing.F) {
	f.Add("warn: one two three four five\n    pasted text that is long\n", 20)
	f.Fuzz(func(t *testing.T, text string, columns int) {
		laid := lay(text, columns, false)
		assert.Equal(t, strings.Fields(text), strings.Fields(laid))
		for line := range strings.Lines(laid) {
			line = strings.TrimRight(line, "\n")
			if strings.HasPrefix(line, pasted) || !strings.Contains(strings.Trim(line, " "), " ") {
				continue // it stays one line, or is one word
			}
			assert.LessOrEqual(t, utf8.RuneCountInString(line), columns, line)
		}
	})
}
