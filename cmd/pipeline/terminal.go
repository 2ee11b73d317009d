package main

import (
	"fmt"
	"io"
	"os"
	"regexp"
	"strings"
	"unicode/utf8"

	"golang.org/x/term"
)

// terminal is the width of standard output, and whether it shows colours. What is no terminal gets long lines: who reads
// them is a program, or breaks them itself.
func terminal() (columns int, color bool) {
	const usual = 100
	fd := int(os.Stdout.Fd())
	if !term.IsTerminal(fd) {
		return usual, false
	}
	if width, _, err := term.GetSize(fd); err == nil && width > 0 {
		columns = width
	}
	return max(columns, 80), os.Getenv("NO_COLOR") == "" && os.Getenv("TERM") != "dumb"
}

// show writes text as standard output takes it: on a terminal with lines broken to its width, and with colours.
func show(out io.Writer, write func(io.Writer)) error {
	var b strings.Builder
	write(&b)
	text := b.String()
	if term.IsTerminal(int(os.Stdout.Fd())) {
		columns, color := terminal()
		text = lay(text, columns, color)
	}
	if _, err := io.WriteString(out, text); err != nil {
		return infrastructure(fmt.Errorf("write the result: %w", err))
	}
	return nil
}

// lay breaks lines to a width and colours the words that decide.
func lay(text string, columns int, color bool) string {
	var b strings.Builder
	for line := range strings.Lines(text) {
		line, ended := strings.CutSuffix(line, "\n")
		for i, part := range fold(line, columns) {
			if i > 0 {
				b.WriteByte('\n')
			}
			if color {
				part = paint(part)
			}
			b.WriteString(part)
		}
		if ended {
			b.WriteByte('\n')
		}
	}
	return b.String()
}

// pasted begins a line that is to be pasted, and so stays one line.
const pasted = "    "

// fold breaks a line between words; what follows is further right than its beginning.
func fold(line string, columns int) []string {
	if utf8.RuneCountInString(line) <= columns || strings.HasPrefix(line, pasted) {
		return []string{line}
	}
	indent := line[:len(line)-len(strings.TrimLeft(line, " "))] + "  "
	var lines []string
	current := ""
	for _, word := range strings.SplitAfter(line, " ") {
		if current != "" && strings.TrimSpace(current) != "" && utf8.RuneCountInString(current+strings.TrimRight(word, " ")) > columns {
			lines = append(lines, strings.TrimRight(current, " "))
			current = indent
		}
		current += word
	}
	return append(lines, strings.TrimRight(current, " "))
}

// decisive are the words that a reader looks for. Those of a level begin a line.
var decisive = regexp.MustCompile(`^(?:refuse|warn|note):|\b(?:NOT proven|FAILED|proven|refused)\b`)

func paint(line string) string {
	return decisive.ReplaceAllStringFunc(line, func(word string) string {
		code := "31" // red
		switch word {
		case "proven":
			code = "32" // green
		case "warn:":
			code = "33" // yellow
		case "note:":
			code = "2" // dim
		}
		return "\x1b[" + code + "m" + word + "\x1b[0m"
	})
}
