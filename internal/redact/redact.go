// Package redact takes secrets out of what is shown or kept: logs, reports, errors. Everything that runs steps or slots
// goes through it, so that there is one list of the forms in which tools print a secret.
package redact

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"io"
	"net/url"
	"slices"
	"strings"
)

// shortestSecret is the length below which a value is no secret: taking every "1" out of a log hides nothing and
// destroys the log.
const shortestSecret = 3

// Mask is what is put in place of a secret.
const Mask = "***"

// Redactor replaces texts, above all secrets by the mask. The zero value replaces none. It must not be changed while it
// is used.
type Redactor struct {
	pairs []replacement // the longest first
	first [256]bool     // bytes that one begins with
}

type replacement struct{ old, new []byte }

// Of masks the given secrets.
func Of(secrets ...string) *Redactor {
	r := &Redactor{}
	for _, s := range secrets {
		r.Secret(s)
	}
	return r
}

// Replace has a text replaced. Where several begin at one place the longest counts.
func (r *Redactor) Replace(text, by string) {
	if text == "" {
		return
	}
	r.pairs = append(r.pairs, replacement{[]byte(text), []byte(by)})
	slices.SortStableFunc(r.pairs, func(a, b replacement) int { return len(b.old) - len(a.old) })
	r.first[text[0]] = true
}

// Secret has a value masked, in the forms that tools give it: as it is, line by line, in JSON, in a URL, in base64.
func (r *Redactor) Secret(value string) {
	forms := []string{value, url.QueryEscape(value), url.PathEscape(value), url.UserPassword("", value).String()[1:]}
	forms = append(forms, quoted(value, true), quoted(value, false))
	for _, encoding := range []*base64.Encoding{base64.StdEncoding, base64.RawStdEncoding, base64.URLEncoding, base64.RawURLEncoding} {
		forms = append(forms, encoding.EncodeToString([]byte(value)))
	}
	if lines := strings.Split(value, "\n"); len(lines) > 1 {
		for _, line := range lines {
			if line = strings.TrimSpace(line); len(line) >= 8 { // not the "}" of a JSON key file
				forms = append(forms, line)
			}
		}
	}
	slices.Sort(forms)
	for _, form := range slices.Compact(forms) {
		if len(form) >= shortestSecret {
			r.Replace(form, Mask)
		}
	}
}

// Secrets are the texts that the mask replaces.
func (r *Redactor) Secrets() [][]byte {
	var found [][]byte
	for _, p := range r.pairs {
		if string(p.new) == Mask {
			found = append(found, p.old)
		}
	}
	return found
}

// Bytes returns data with everything replaced.
func (r *Redactor) Bytes(data []byte) []byte {
	var out bytes.Buffer
	w := r.Writer(&out)
	_, _ = w.Write(data)
	_ = w.Flush()
	return out.Bytes()
}

// Writer returns a writer that replaces in what passes, also where a text is split between two writes.
func (r *Redactor) Writer(to io.Writer) *Writer {
	return &Writer{redactor: r, to: to}
}

// Writer replaces in what passes. It is not for concurrent use.
type Writer struct {
	redactor *Redactor
	to       io.Writer
	held     []byte // what may be the beginning of a text to replace
}

// Write holds back what may be the beginning of a text to replace.
func (w *Writer) Write(data []byte) (int, error) {
	w.held = append(w.held, data...)
	return len(data), w.pass(false)
}

// Flush writes what was held back.
func (w *Writer) Flush() error { return w.pass(true) }

// pass writes what is settled: up to the first place from which the rest may be the beginning of a text to replace.
func (w *Writer) pass(all bool) error {
	var out []byte
	rest := w.held
scan:
	for len(rest) > 0 {
		for _, p := range w.redactor.pairs {
			if bytes.HasPrefix(rest, p.old) {
				out = append(out, p.new...)
				rest = rest[len(p.old):]
				continue scan
			}
			if !all && len(rest) < len(p.old) && bytes.HasPrefix(p.old, rest) {
				break scan // a longer text may be about to come
			}
		}
		// On to the next place where one may begin.
		next := 1
		for next < len(rest) && !w.redactor.first[rest[next]] {
			next++
		}
		out = append(out, rest[:next]...)
		rest = rest[next:]
	}
	w.held = append(w.held[:0:0], rest...)
	if len(out) == 0 {
		return nil
	}
	_, err := w.to.Write(out)
	return err
}

// quoted is a text as it stands between the quotes of JSON. Go writes & as \u0026 there, others do not.
func quoted(text string, html bool) string {
	var out bytes.Buffer
	encoder := json.NewEncoder(&out)
	encoder.SetEscapeHTML(html)
	if encoder.Encode(text) != nil {
		return ""
	}
	return out.String()[1 : out.Len()-len("\"\n")]
}
