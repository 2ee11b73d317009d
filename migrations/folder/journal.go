package folder

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/metaextract/pipeline/migrations/script"
)

// entry is a line of drizzle-kit's journal.
type entry struct {
	Index int    `json:"idx"`
	When  int64  `json:"when"` // milliseconds since 1970
	Tag   string `json:"tag"`

	line int
}

func (e entry) fault(d directory, format string, args ...any) error {
	return fmt.Errorf("%s:%d: %s", d.show(journalFile), e.line, fmt.Sprintf(format, args...))
}

// journal reads the entries token by token, because encoding/json tells no line of a value it could read.
func (d directory) journal() ([]entry, error) {
	body, err := d.read(journalFile)
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", d.show(journalFile), err)
	}
	entries, at, err := parseJournal(body)
	if err != nil {
		line, column := script.LineColumn(string(body), int(at))
		return nil, fmt.Errorf("%s:%d:%d: %w; take the file from git, or make it anew with drizzle-kit generate", d.show(journalFile), line, column, err)
	}
	if len(entries) == 0 {
		return nil, fmt.Errorf("%s: no migrations: its list of entries is empty or missing", d.show(journalFile))
	}
	return entries, nil
}

// parseJournal also says at which byte an error is.
func parseJournal(body []byte) ([]entry, int64, error) {
	var anything any
	var syntax *json.SyntaxError
	if err := json.Unmarshal(body, &anything); errors.As(err, &syntax) {
		return nil, max(syntax.Offset-1, 0), err // a Decoder counts from where its last value ended
	}
	decoder := json.NewDecoder(bytes.NewReader(body))
	entries, err := journalEntries(decoder, body)
	return entries, decoder.InputOffset(), err
}

func journalEntries(decoder *json.Decoder, body []byte) ([]entry, error) {
	if err := expect(decoder, json.Delim('{')); err != nil {
		return nil, err
	}
	var entries []entry
	for decoder.More() {
		key, err := decoder.Token()
		if err != nil {
			return nil, err
		}
		switch key {
		case "dialect":
			var dialect string
			if err := decoder.Decode(&dialect); err != nil {
				return nil, err
			}
			if dialect != "postgresql" {
				return nil, fmt.Errorf("dialect is %q, but only postgresql can be migrated", dialect)
			}
		case "entries":
			if entries, err = journalList(decoder, body); err != nil {
				return nil, err
			}
		default:
			var ignored json.RawMessage
			if err := decoder.Decode(&ignored); err != nil {
				return nil, err
			}
		}
	}
	return entries, nil
}

func journalList(decoder *json.Decoder, body []byte) ([]entry, error) {
	if err := expect(decoder, json.Delim('[')); err != nil {
		return nil, err
	}
	var entries []entry
	for decoder.More() {
		var e entry
		start := int(decoder.InputOffset())
		start += len(body[start:]) - len(bytes.TrimLeft(body[start:], ", \t\r\n"))
		e.line, _ = script.LineColumn(string(body), start)
		if err := decoder.Decode(&e); err != nil {
			return nil, err
		}
		entries = append(entries, e)
	}
	return entries, expect(decoder, json.Delim(']'))
}

func expect(decoder *json.Decoder, want json.Delim) error {
	got, err := decoder.Token()
	if err != nil {
		return err
	}
	if got != want {
		return fmt.Errorf("%v where %v is expected", got, want)
	}
	return nil
}
