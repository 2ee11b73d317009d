package host

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

// mask is what is put in place of a secret.
const mask = "***"

// sourceRoot is what the source root is called in logs and reports. The directory itself has a name that differs from
// run to run and is soon gone; this is what a container of the engine has there.
const sourceRoot = "/src"

// redactor replaces texts, above all secrets by the mask.
type redactor struct {
	pairs []replacement // the longest first
	first [256]bool     // bytes that one begins with
}

type replacement struct{ old, new []byte }

// add has a text replaced. Where several begin at one place the longest counts.
func (r *redactor) add(text, by string) {
	if text == "" {
		return
	}
	r.pairs = append(r.pairs, replacement{[]byte(text), []byte(by)})
	slices.SortStableFunc(r.pairs, func(a, b replacement) int { return len(b.old) - len(a.old) })
	r.first[text[0]] = true
}

// secret has a value masked, in the forms that tools give it: as it is, line by line, in JSON, in a URL, in base64.
func (r *redactor) secret(value string) {
	forms := []string{value, url.QueryEscape(value), url.PathEscape(value), url.UserPassword("", value).String()[1:]}
	if quoted, err := json.Marshal(value); err == nil {
		forms = append(forms, string(quoted[1:len(quoted)-1]))
	}
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
			r.add(form, mask)
		}
	}
}

// secrets are the texts that the mask replaces.
func (r *redactor) secrets() [][]byte {
	var found [][]byte
	for _, p := range r.pairs {
		if string(p.new) == mask {
			found = append(found, p.old)
		}
	}
	return found
}

// bytes returns data with everything replaced.
func (r *redactor) bytes(data []byte) []byte {
	var out bytes.Buffer
	w := r.writer(&out)
	_, _ = w.Write(data)
	_ = w.flush()
	return out.Bytes()
}

// writer returns a writer that replaces in what passes, also where a text is split between two writes.
func (r *redactor) writer(to io.Writer) *redactingWriter {
	return &redactingWriter{redactor: r, to: to}
}

type redactingWriter struct {
	*redactor
	to   io.Writer
	held []byte // what may be the beginning of a text to replace
}

func (w *redactingWriter) Write(data []byte) (int, error) {
	w.held = append(w.held, data...)
	return len(data), w.pass(false)
}

// flush writes what was held back.
func (w *redactingWriter) flush() error { return w.pass(true) }

// pass writes what is settled: up to the first place from which the rest may be the beginning of a text to replace.
func (w *redactingWriter) pass(all bool) error {
	var out []byte
	rest := w.held
scan:
	for len(rest) > 0 {
		for _, p := range w.pairs {
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
		for next < len(rest) && !w.first[rest[next]] {
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
