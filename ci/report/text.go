package report

import (
	"bytes"
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"unicode/utf8"
)

// escapes are terminal control sequences: CSI, OSC (hyperlinks, titles) and the two-byte ones.
var escapes = regexp.MustCompile("\x1b\\[[0-?]*[ -/]*[@-~]|\x1b\\][^\x07\x1b]*(?:\x07|\x1b\\\\)|\x1b[@-_]")

// plain takes terminal control sequences, carriage returns and other control characters out of text from outside,
// so that it can be printed anywhere.
func plain(s string) string {
	if strings.Contains(s, "\x1b") {
		s = escapes.ReplaceAllString(s, "")
	}
	s = strings.ReplaceAll(s, "\r\n", "\n")
	return strings.Map(func(r rune) rune {
		switch {
		case r == '\n', r == '\t':
			return r
		case r == '\r':
			return '\n'
		case r < 0x20, r == 0x7f, r >= 0x80 && r < 0xa0, bidirectional(r):
			return -1
		default:
			return r
		}
	}, strings.ToValidUTF8(s, "\uFFFD"))
}

// bidirectional controls can make a line read as something it is not.
func bidirectional(r rune) bool {
	return r >= 0x202a && r <= 0x202e || r >= 0x2066 && r <= 0x2069
}

// line is text from outside as one line.
func line(s string) string { return strings.Join(strings.Fields(plain(s)), " ") }

// verbatim is text from outside on one line, with its blanks: a command keeps its meaning.
func verbatim(s string) string {
	return strings.TrimSpace(strings.NewReplacer("\n", " ", "\t", " ").Replace(plain(s)))
}

// firstLine is the first line that is not blank.
func firstLine(s string) string {
	for l := range strings.Lines(s) {
		if l = strings.TrimSpace(l); l != "" {
			return l
		}
	}
	return ""
}

// lastLines keeps the last n lines that are not blank.
func lastLines(lines []string, n int) []string {
	var kept []string
	for i := len(lines) - 1; i >= 0 && len(kept) < n; i-- {
		if strings.TrimSpace(lines[i]) != "" {
			kept = append(kept, strings.TrimRight(lines[i], " \t"))
		}
	}
	for i, j := 0, len(kept)-1; i < j; i, j = i+1, j-1 {
		kept[i], kept[j] = kept[j], kept[i]
	}
	return kept
}

// clip shortens one line to n characters.
func clip(s string, n int) string {
	if n <= 0 {
		return ""
	}
	if utf8.RuneCountInString(s) <= n {
		return s
	}
	return string([]rune(s)[:n-1]) + "…"
}

// clipBytes shortens text to at most n bytes, at the end of a character, and says so.
func clipBytes(s string, n int) string {
	const cut = "\n…"
	if len(s) <= n {
		return s
	}
	n -= len(cut)
	for n > 0 && !utf8.RuneStart(s[n]) {
		n--
	}
	return s[:max(n, 0)] + cut
}

// clipLines keeps the first n lines and says how many follow.
func clipLines(s string, n int) []string {
	lines := strings.Split(strings.Trim(s, "\n"), "\n")
	if len(lines) <= n+1 {
		return lines
	}
	return append(lines[:n:n], fmt.Sprintf("… %d more lines", len(lines)-n))
}

// seconds writes a duration for people: "8 ms", "4.2 s", "1 m 05 s".
func seconds(s float64) string {
	switch {
	case s < 0.0005:
		return "0 s"
	case s < 0.9995:
		return strconv.Itoa(int(s*1000+0.5)) + " ms"
	case s < 99.95:
		return strconv.FormatFloat(s, 'f', 1, 64) + " s"
	default:
		n := int(s + 0.5)
		return fmt.Sprintf("%d m %02d s", n/60, n%60)
	}
}

// millis writes milliseconds: "0.4 ms", "12 ms", "1,204 ms".
func millis(ms float64) string {
	if ms > 0 && ms < 9.95 {
		return strconv.FormatFloat(ms, 'f', 1, 64) + " ms"
	}
	return count(int64(ms+0.5)) + " ms"
}

// count writes a number with thousands separated.
func count[T int | int64](n T) string {
	s := strconv.FormatInt(int64(n), 10)
	sign := ""
	if s[0] == '-' {
		sign, s = "-", s[1:]
	}
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return sign + s
}

// size writes a number of bytes: "812 B", "1.4 MB".
func size(n int64) string {
	units := []string{"kB", "MB", "GB", "TB", "PB", "EB"}
	if n < 1000 {
		return fmt.Sprintf("%d B", n)
	}
	f, u := float64(n)/1000, 0
	for f >= 999.95 && u < len(units)-1 {
		f, u = f/1000, u+1
	}
	return strconv.FormatFloat(f, 'f', 1, 64) + " " + units[u]
}

// plural writes "1 test", "42 tests".
func plural[T int | int64](n T, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return count(n) + " " + noun + "s"
}

// joinNonEmpty joins the parts that are not empty.
func joinNonEmpty(separator string, parts ...string) string {
	var kept []string
	for _, p := range parts {
		if p != "" {
			kept = append(kept, p)
		}
	}
	return strings.Join(kept, separator)
}

// logLines are the lines of a log, without control sequences. A line drawn over by carriage returns is its last state.
func logLines(log []byte) []string {
	log = bytes.ReplaceAll(log, []byte("\r\n"), []byte("\n"))
	lines := strings.Split(string(log), "\n")
	for i, l := range lines {
		if at := strings.LastIndexByte(strings.TrimRight(l, "\r"), '\r'); at >= 0 {
			l = l[at+1:]
		}
		l = l[:min(len(l), maxLineBytes)]
		lines[i] = strings.TrimRight(plain(l), " \t\n")
	}
	return lines
}
