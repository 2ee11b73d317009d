package script

import (
	"slices"
	"strings"
)

// fileLine begins the line that stands before each file where a text joins several. It ends the statement before it, and
// to PostgreSQL it is a comment.
const fileLine = prefix + " file "

// Part is a file to be joined with others.
type Part struct{ File, Body string }

// Join makes one text of several files, which run as one. Before each stands a line that names it, from which Parse knows
// where every position is. A name holds no line break. A quote or comment that is open at the end of a file would swallow
// the next one: whoever joins files compares the number of statements with those of the files alone.
func Join(parts ...Part) string {
	var b strings.Builder
	for _, p := range parts {
		b.WriteString(fileLine + p.File + "\n")
		body := strings.TrimPrefix(p.Body, byteOrderMark)
		b.WriteString(body)
		if !strings.HasSuffix(body, "\n") {
			b.WriteByte('\n')
		}
	}
	return b.String()
}

// segment is one file of a text that joins several.
type segment struct {
	file  string
	line  int // the byte at which the line that names it begins
	start int // the byte at which its own text begins
}

// Files are the files that the text joins, in order; the script's own where it joins none.
func (s *Script) Files() []string {
	if len(s.segments) == 0 {
		return []string{s.File}
	}
	var files []string
	for _, part := range s.segments {
		files = append(files, part.file)
	}
	return files
}

// Joined says whether the text names files that it joins.
func (s *Script) Joined() bool { return len(s.segments) > 0 }

// Position is where a byte of the source is: in which file, line and column, from 1, as an editor shows them.
func (s *Script) Position(at int) (file string, line, column int) {
	part := s.segment(at)
	line, column = LineColumn(s.Source[part.start:], at-part.start)
	return part.file, line, column
}

// Place is the file and line that a statement begins in.
func (s *Script) Place(i int) (file string, line int) {
	file, line, _ = s.Position(s.Statements[i].Start)
	return file, line
}

// segment is the file that a byte belongs to.
func (s *Script) segment(at int) segment {
	i, found := slices.BinarySearchFunc(s.segments, at, func(part segment, at int) int { return part.line - at })
	switch {
	case found:
		return s.segments[i]
	case i > 0:
		return s.segments[i-1]
	}
	return segment{file: s.File}
}

// beginsFile says whether a comment names the file that follows.
func (s *splitter) beginsFile() bool {
	return strings.HasPrefix(s.text[s.at:], fileLine) && (s.at == 0 || s.text[s.at-1] == '\n' || s.text[s.at-1] == '\r')
}

// file consumes the line that names a file.
func (s *splitter) file() {
	s.finish()
	rest := s.text[s.at:]
	end := strings.IndexAny(rest, "\n\r")
	if end < 0 {
		end = len(rest)
	}
	next := end
	for _, lineBreak := range []string{"\r\n", "\n", "\r"} {
		if strings.HasPrefix(rest[end:], lineBreak) {
			next += len(lineBreak)
			break
		}
	}
	s.segments = append(s.segments, segment{file: rest[len(fileLine):end], line: s.at, start: s.at + next})
	s.at += end
}

// end ends the statement before a file as PostgreSQL reads it. The line keeps its length in characters as well as in bytes,
// because the server counts characters.
func (part segment) end(text []byte) {
	copy(text[part.line:], ";--")
}

// unwrapEach removes BEGIN and COMMIT around each of the files.
func (s *Script) unwrapEach(statements []Statement, text []byte) []Statement {
	var list []Statement
	for from := 0; from < len(statements); {
		part, to := s.segment(statements[from].Start), from+1
		for to < len(statements) && s.segment(statements[to].Start) == part {
			to++
		}
		list = append(list, unwrap(statements[from:to], text)...)
		from = to
	}
	return list
}
