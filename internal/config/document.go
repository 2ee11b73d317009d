package config

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"
	"unicode/utf8"

	"go.yaml.in/yaml/v3"
)

// Limits on a file, far above any real one, so that a hostile one costs little.
const (
	maxBytes = 1 << 20
	maxNodes = 100_000 // counted after aliases are expanded
	maxDepth = 50
	maxItems = 1000 // of a list, JSON bodies aside

	// Up to this size the place of a syntax error is searched for; the search parses once a line.
	maxSearchLines = 1000
	maxSearchBytes = 32 << 10
)

// document parses the one YAML document of a file. It reports what is wrong and returns nil where there is none.
func document(data []byte, r *reporter) *yaml.Node {
	start := place{1, 1}
	if len(data) > maxBytes {
		r.report(start, "", fmt.Sprintf("the file is larger than %d bytes", maxBytes), "is this the right file?")
		return nil
	}
	decoder := yaml.NewDecoder(bytes.NewReader(data))
	var doc yaml.Node
	err := decoder.Decode(&doc)
	if errors.Is(err, io.EOF) || err == nil && isNull(doc.Content[0]) {
		r.report(start, "", "the file is empty", `write at least version, name and components, or let "pipeline init" write it`)
		return nil
	}
	if err != nil {
		r.report(syntaxError(data, err))
		return nil
	}
	var second yaml.Node
	if err := decoder.Decode(&second); err == nil {
		r.report(place{max(second.Line, 1), max(second.Column, 1)}, "", "a second YAML document starts here", "keep one document in the file and remove the ---")
		return nil
	} else if !errors.Is(err, io.EOF) {
		r.report(syntaxError(data, err))
		return nil
	}
	return doc.Content[0]
}

// syntaxError places a parser's error. The parser gives no column and, for half of its errors, the line before the one
// that is wrong. So the place is found by asking it: the first byte with which the file is no longer YAML. For a bracket
// or quote that is never closed, that is where it opens.
func syntaxError(data []byte, err error) (at place, path, message, hint string) {
	message = strings.TrimPrefix(err.Error(), "yaml: ")
	about := 1 // the parser's line
	if n, err := fmt.Sscanf(message, "line %d:", &about); n == 1 && err == nil {
		_, message, _ = strings.Cut(message, ": ")
	}
	at = syntaxPlace(data, about)
	line := lineOf(data, at.line)
	switch {
	case strings.Contains(message, "tab character") || strings.HasPrefix(strings.TrimLeft(line, " "), "\t"):
		hint = "indent with spaces, YAML allows no tabs"
	case strings.Contains(message, "mapping values are not allowed"):
		hint = "check the indentation, and put a text that contains a colon in quotes"
	case strings.Contains(message, "cannot start any token"):
		hint = "put a text that starts with this character in quotes"
	case strings.Contains(message, "could not find expected ':'"):
		hint = "write key: value"
	case strings.Contains(message, "unexpected end of stream"):
		hint = "close the quote"
	case strings.Contains(message, "expected ',' or"):
		hint = "close the bracket, and put a text in it that has a bracket, comma, colon or question mark in quotes"
	case strings.Contains(message, "unknown anchor"):
		if _, rest, ok := strings.Cut(message, "'"); ok {
			at = find(data, "*"+strings.TrimSuffix(rest, "' referenced"), at)
		}
		message = "unknown anchor" // its name may be a secret that starts with an asterisk
		hint = "define it before its first use with &, or put the text in quotes"
	default:
		hint = "check the indentation and the quotes of this line"
	}
	return at, "", "not valid YAML: " + message, hint
}

func syntaxPlace(data []byte, about int) place {
	lines := bytes.SplitAfter(data, []byte("\n"))
	if len(lines) > maxSearchLines || len(data) > maxSearchBytes {
		return place{max(about, 1), 1}
	}
	end := len(data)
	line := len(lines)
	for ; line > 0; line-- { // the longest run of whole lines that is YAML
		end -= len(lines[line-1])
		if isYAML(data[:end]) {
			break
		}
	}
	if line == 0 {
		return place{1, 1}
	}
	text := lines[line-1]
	for column := min(len(text), 500); column > 1; column-- {
		if isYAML(data[:end+column-1]) {
			return place{line, utf8.RuneCount(text[:column-1]) + 1} // as the parser counts elsewhere
		}
	}
	return place{line, 1}
}

// find is the place of the first occurrence of text from a line on.
func find(data []byte, text string, from place) place {
	for i, line := range strings.Split(string(data), "\n") {
		if before, _, ok := strings.Cut(line, text); ok && i+1 >= from.line {
			return place{i + 1, utf8.RuneCountInString(before) + 1}
		}
	}
	return from
}

func isYAML(data []byte) bool {
	decoder := yaml.NewDecoder(bytes.NewReader(data))
	for {
		var n yaml.Node
		if err := decoder.Decode(&n); err != nil {
			return errors.Is(err, io.EOF)
		}
	}
}

func lineOf(data []byte, number int) string {
	lines := strings.Split(string(data), "\n")
	if number < 1 || number > len(lines) {
		return ""
	}
	return lines[number-1]
}

func isNull(n *yaml.Node) bool { return n.Kind == yaml.ScalarNode && n.ShortTag() == "!!null" }

// isMerge says whether a key is <<, which copies the mapping it names.
func isMerge(n *yaml.Node) bool { return n.Kind == yaml.ScalarNode && n.ShortTag() == "!!merge" }

// kindOf names what a node is, for people.
func kindOf(n *yaml.Node) string {
	switch n.Kind {
	case yaml.MappingNode:
		return "a mapping"
	case yaml.SequenceNode:
		return "a list"
	}
	switch n.ShortTag() {
	case "!!null":
		return "nothing"
	case "!!int", "!!float":
		return "a number"
	case "!!bool":
		return "true or false"
	case "!!str", "!!timestamp", "!!merge":
		return "a text"
	default: // the tag may be the first word of a secret that starts with an exclamation mark
		return "a value with a YAML tag"
	}
}
