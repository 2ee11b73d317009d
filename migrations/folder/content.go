package folder

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io/fs"
	"regexp"
	"slices"
	"strings"

	"github.com/metaextract/pipeline/migrations/script"
)

// Hash names a file's content, as drizzle-orm does.
func Hash(body []byte) string {
	sum := sha256.Sum256(body)
	return hex.EncodeToString(sum[:])
}

// load reads a migration's files and looks at them, without a database.
func (m *Migration) load(fsys fs.FS) error {
	m.beside(fsys)
	parts, err := readParts(fsys, m.up)
	if err != nil {
		return err
	}
	text, s, err := combine(parts)
	if err != nil {
		return err
	}
	for _, p := range parts {
		alone, err := script.Parse(p.File, p.Body)
		if err == nil && len(alone.Statements) == 0 {
			err = fmt.Errorf("%s: the migration has no statement: write one or remove the migration", p.File)
		}
		if err == nil {
			err = bothWays(p)
		}
		if err != nil {
			return err
		}
		m.Files = append(m.Files, File{Name: p.File, SHA256: Hash([]byte(p.Body))})
	}
	m.SHA256, m.Statements, m.Transactional, m.Declared = Hash([]byte(text)), len(s.Statements), !s.Outside, s.Declared
	if parts, err = readParts(fsys, m.down); err != nil {
		return err
	}
	if _, _, err = combine(parts); err != nil {
		return err
	}
	if parts, err = readParts(fsys, m.verify); err != nil {
		return err
	}
	return checkVerify(parts)
}

// beside finds the ways back and the checks of the migration's files. What several files did goes back by the ways of all
// of them, the last one first; where one has none, there is none.
func (m *Migration) beside(fsys fs.FS) {
	for _, up := range m.up {
		down, verify := beside(up, downFile), beside(up, verifyFile)
		if up == m.File {
			down = m.Down
		}
		if down != "" && exists(fsys, down) {
			m.down = append(m.down, down)
		}
		if exists(fsys, verify) {
			m.verify = append(m.verify, verify)
		}
	}
	slices.Reverse(m.down)
	if len(m.down) < len(m.up) {
		m.Down, m.down = "", nil
	}
	if len(m.verify) > 0 {
		m.Verify = m.verify[0]
	}
}

func readParts(fsys fs.FS, files []string) ([]script.Part, error) {
	var parts []script.Part
	for _, f := range files {
		body, err := fs.ReadFile(fsys, f)
		if err != nil {
			return nil, fmt.Errorf("read migration %s: %w", f, err)
		}
		parts = append(parts, script.Part{File: f, Body: string(body)})
	}
	return parts, nil
}

// combine makes one text of a migration's files: that of the file where there is one.
func combine(parts []script.Part) (string, *script.Script, error) {
	statements := 0
	var alone *script.Script
	for _, p := range parts {
		var err error
		if alone, err = script.Parse(p.File, p.Body); err != nil {
			return "", nil, err
		}
		if alone.Joined() {
			return "", nil, fmt.Errorf("%s: the comment `-- deploy: file` is written where files are joined, and nowhere else: remove the line", p.File)
		}
		statements += len(alone.Statements)
	}
	if len(parts) < 2 {
		if len(parts) == 0 {
			return "", nil, nil
		}
		return parts[0].Body, alone, nil
	}
	for _, p := range parts {
		after, err := script.Parse(p.File, script.Join(p, script.Part{File: "next", Body: "SELECT 1"}))
		if err != nil || len(after.Files()) != 2 {
			return "", nil, fmt.Errorf("%s: a quote or a comment is open at its end, and would swallow the file that runs after it: close it", p.File)
		}
	}
	text := script.Join(parts...)
	s, err := script.Parse(parts[0].File, text)
	if err == nil && len(s.Statements) != statements {
		return "", nil, fmt.Errorf("%s: together with %s it is not the %d statements that the files are alone: begin each with a key word", parts[0].File, parts[1].File, statements)
	}
	return text, s, err
}

// checkVerify refuses a check that could not be undone: it runs in a transaction that is rolled back.
func checkVerify(parts []script.Part) error {
	for _, p := range parts {
		s, err := script.Parse(p.File, p.Body)
		switch {
		case err != nil:
			return err
		case len(s.Statements) == 0:
			return fmt.Errorf("%s: the check has no statement: write one or remove the file", p.File)
		}
		for i, st := range s.Statements {
			if script.OutsideTransaction(st) {
				return fmt.Errorf("%s:%d: a check runs in a transaction that is rolled back, and this statement cannot run in one: remove it", p.File, s.Line(i))
			}
		}
		if s.Outside {
			return fmt.Errorf("%s: a check runs in a transaction that is rolled back: remove the declaration that it runs otherwise", p.File)
		}
	}
	_, _, err := combine(parts)
	return err
}

// wayBack is the line from which on a file of another tool holds the way back: goose, dbmate, sql-migrate, node-pg-migrate,
// tern. To everybody else it is a comment, and what follows would run too.
var wayBack = regexp.MustCompile(`(?im)^[ \t]*--[ \t]*(?:\+goose[ \t]+down\b|migrate:down\b|\+migrate[ \t]+down\b|down[ \t]+migration[ \t-]*\r?$)|^----[ \t]*create above[ \t]*/[ \t]*drop below[ \t]*----`)

// bothWays refuses a file that holds both ways.
func bothWays(p script.Part) error {
	at := wayBack.FindStringIndex(p.Body)
	if at == nil {
		return nil
	}
	_, below, _ := strings.Cut(p.Body[at[1]:], "\n")
	after, err := script.Parse(p.File, below)
	if err != nil || len(after.Statements) == 0 {
		return nil // there is nothing to run below it
	}
	line, _ := script.LineColumn(p.Body, at[0])
	return fmt.Errorf("%s:%d: what follows is the way back, and would run right after the way forward: move it to %s",
		p.File, line, beside(p.File, downFile))
}

// text is one of a migration's ways as it is read now.
func text(fsys fs.FS, files []string) (string, error) {
	parts, err := readParts(fsys, files)
	if err != nil {
		return "", err
	}
	if len(parts) == 1 {
		return parts[0].Body, nil
	}
	joined, _, err := combine(parts)
	return joined, err
}
