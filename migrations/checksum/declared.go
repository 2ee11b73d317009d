package checksum

import (
	"slices"
	"strings"
)

// Declared says whether a migration declared the change by `-- deploy: changes TABLE[.COLUMN]`: a list of tables and columns,
// with or without their schema. A table stands for all its columns and rows; without a schema, for the tables of that name in
// every schema, for a migration says it under its own search_path. Names are folded as PostgreSQL does, unless quoted.
func (c Change) Declared(changes []string) bool {
	covers := [][]string{{c.Table}, {c.Schema, c.Table}}
	if c.Column != "" {
		covers = append(covers, []string{c.Table, c.Column}, []string{c.Schema, c.Table, c.Column})
	}
	return slices.ContainsFunc(changes, func(declared string) bool {
		parts := identifiers(declared)
		return slices.ContainsFunc(covers, func(names []string) bool { return slices.Equal(names, parts) })
	})
}

// identifiers splits a name at its dots, as PostgreSQL 4.1.1 has it: what is not in double quotes is folded to lower case,
// of which a server does only ASCII in UTF-8; a doubled quote within quotes is one.
func identifiers(text string) []string {
	var parts []string
	var part strings.Builder
	quoted := false
	for i := 0; i < len(text); i++ {
		switch c := text[i]; {
		case c == '"' && quoted && i+1 < len(text) && text[i+1] == '"':
			part.WriteByte(c)
			i++
		case c == '"':
			quoted = !quoted
		case quoted:
			part.WriteByte(c)
		case c == '.':
			parts = append(parts, part.String())
			part.Reset()
		case 'A' <= c && c <= 'Z':
			part.WriteByte(c + 'a' - 'A')
		case c == ' ' || c == '\t':
		default:
			part.WriteByte(c)
		}
	}
	return append(parts, part.String())
}
