package driver

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"net/url"
	"slices"
	"strings"
)

// shortestSecret is the length below which a value is no secret: taking every "1" out of a log hides nothing and destroys
// the log.
const shortestSecret = 3

// Redactor puts *** in place of secrets, in the forms that tools give them: as they are, line by line, in JSON, in a URL,
// in base64. The engine does the same to what it shows itself, but not to files.
type Redactor struct{ forms [][]byte }

// Secret has a value taken out.
func (r *Redactor) Secret(value string) {
	forms := []string{value, url.QueryEscape(value), url.PathEscape(value)}
	if quoted, err := json.Marshal(value); err == nil {
		forms = append(forms, string(quoted[1:len(quoted)-1]))
	}
	for _, encoding := range []*base64.Encoding{base64.RawStdEncoding, base64.RawURLEncoding} {
		forms = append(forms, encoding.EncodeToString([]byte(value)))
	}
	for line := range strings.Lines(value) {
		if line = strings.TrimSpace(line); len(line) >= 8 { // not the "}" of a JSON key file
			forms = append(forms, line)
		}
	}
	for _, form := range forms {
		if len(form) >= shortestSecret {
			r.forms = append(r.forms, []byte(form))
		}
	}
	slices.SortStableFunc(r.forms, func(a, b []byte) int { return len(b) - len(a) })
}

// Bytes returns data without secrets.
func (r *Redactor) Bytes(data []byte) []byte {
	for _, form := range r.forms {
		data = bytes.ReplaceAll(data, form, []byte("***"))
	}
	return data
}
