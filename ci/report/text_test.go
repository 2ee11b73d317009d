package report

import (
	"strings"
	"testing"
	"testing/quick"
	"unicode/utf8"

	"github.com/stretchr/testify/assert"
)

func TestNumbersForPeople(t *testing.T) {
	for want, got := range map[string]string{
		"0 s": seconds(0), "1 ms": seconds(0.0009), "8 ms": seconds(0.008), "999 ms": seconds(0.9991), "1.0 s": seconds(0.9996), "4.2 s": seconds(4.2),
		"99.9 s": seconds(99.9), "1 m 40 s": seconds(99.96), "61 m 01 s": seconds(3661),
		"0 ms": millis(0), "0.4 ms": millis(0.4), "9.9 ms": millis(9.94), "10 ms": millis(9.96), "1,204 ms": millis(1204.2),
		"999": count(999), "1,000": count(1000), "-12,345,678": count(-12345678),
		"999 B": size(999), "1.0 kB": size(1000), "1.0 MB": size(999_960), "1.3 GB": size(1_284_113_000),
		"1 test": plural(1, "test"), "0 tests": plural(0, "test"), "2,000 tests": plural(2000, "test"),
		"0.5": unit(0.5), "12": unit(12), "0.05": unit(0.05), "100": unit(100), "10.1": unit(10.1),
	} {
		assert.Equal(t, want, got)
	}
	assert.Equal(t, "10.05", unit(10.05))
	assert.Equal(t, "0", unit(0))
	assert.Equal(t, "0", count(0))
}

func TestPlainTextHasNoControlSequences(t *testing.T) {
	for in, want := range map[string]string{
		"\x1b[31mred\x1b[0m":                    "red",
		"\x1b]8;;https://x\x07link\x1b]8;;\x07": "link",
		"\x1b]0;title\x1b\\text":                "text",
		"a\r\nb\rc\x00\x08\x7f":                 "a\nb\nc",
		"\u202eevil\u202c":                      "evil",
		"caf\xe9":                               "caf\uFFFD",
		"\u0085":                                "",
		"tab\tnewline\n":                        "tab\tnewline\n",
		"\x1b[38;5;246m│\x1b[0m \x1b[1;31mError\x1b[m!": "│ Error!",
	} {
		assert.Equal(t, want, plain(in))
	}
	assert.NoError(t, quick.Check(func(s string) bool {
		p := plain(s)
		return utf8.ValidString(p) && !strings.ContainsAny(p, "\x1b\r\x00\x7f") && plain(p) == p
	}, nil))
}

func TestALineDrawnOverIsItsLastState(t *testing.T) {
	assert.Equal(t, []string{"100%", "done", ""}, logLines([]byte("10%\r50%\r100%\ndone\r\n")))
}

func TestCutTextStaysText(t *testing.T) {
	assert.Equal(t, "ab…", clip("abcd", 3))
	assert.Equal(t, "abcd", clip("abcd", 4))
	assert.Empty(t, clip("abcd", 0))
	assert.NoError(t, quick.Check(func(s string, n uint8) bool {
		c := clipBytes(strings.ToValidUTF8(s, ""), int(n)+8)
		return utf8.ValidString(c) && len(c) <= int(n)+8
	}, nil))
	assert.Equal(t, []string{"a", "b", "… 3 more lines"}, clipLines("a\nb\nc\nd\ne\n", 2))
	assert.Equal(t, []string{"a", "b", "c"}, clipLines("a\nb\nc", 2), "one line is not worth a remark")
}

func TestLinesFitAndWrapInAWidth(t *testing.T) {
	assert.Equal(t, "漢字…", fit("漢字漢字", 6))
	assert.Equal(t, "\x1b[1mab…\x1b[0m", fit("\x1b[1mabcdef\x1b[0m", 3))
	assert.Equal(t, []string{"one two", "three"}, wrap("one  two\nthree", 10))
	assert.Equal(t, []string{"abcdefghi", "jklmnopqr", "stu"}, wrap("abcdefghijklmnopqrstu", 10))
	assert.Equal(t, []string{"one two", "three fou…"}, wrapped("one two three four five six", 10, 2))
	assert.NoError(t, quick.Check(func(s string, n uint8) bool {
		columns := int(n)%80 + 10
		for _, l := range append(wrap(line(s), columns), fit(line(s), columns)) {
			if width(l) > columns {
				return false
			}
		}
		return strings.ReplaceAll(strings.Join(wrap(line(s), columns), ""), " ", "") == strings.ReplaceAll(line(s), " ", "")
	}, nil))
}

func TestWordsForAShell(t *testing.T) {
	for word, want := range map[string]string{
		"src/a.test.ts":      "src/a.test.ts",
		"--seed=-5":          "--seed=-5",
		"two  words":         "'two  words'",
		"it's":               `'it'\''s'`,
		"$(rm -rf /)`x`":     "'$(rm -rf /)`x`'",
		"a\nb":               "'a b'",
		"":                   "''",
		"\x1b[31mred\x1b[0m": "red",
	} {
		assert.Equal(t, want, quote(word))
	}
}
