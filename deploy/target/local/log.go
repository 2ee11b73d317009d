package local

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/url"
	"os"
	"slices"
	"strings"
	"sync"
)

// Bounds of what is kept in memory of a log.
const (
	maxTail = 64 << 10
	maxLine = 16 << 10 // longer ones are cut into lines of their own
)

// logFile takes a unit's output: whole lines, without secrets, go to the file and to a tail in memory.
type logFile struct {
	redactor redactor

	mu   sync.Mutex
	file *os.File // nil: memory only
	line []byte   // not yet ended
	tail []byte
}

func newLog(file *os.File, r redactor) *logFile { return &logFile{file: file, redactor: r} }

// Write implements io.Writer. It never fails: a full disk must not end the application that is being tried.
func (l *logFile) Write(data []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	n := len(data)
	for len(data) > 0 {
		end := bytes.IndexByte(data, '\n')
		if end < 0 {
			l.line = append(l.line, data...)
			break
		}
		l.line = append(l.line, data[:end+1]...)
		data = data[end+1:]
		l.flush()
	}
	if len(l.line) > maxLine {
		// The end of a long line is held back: a secret may have begun there.
		l.line = l.redactor.redact(l.line)
		keep := min(l.redactor.longest, len(l.line))
		rest := bytes.Clone(l.line[len(l.line)-keep:])
		l.line = append(l.line[:len(l.line)-keep], '\n')
		l.flush()
		l.line = rest
	}
	return n, nil
}

// flush takes the line. It needs l.mu.
func (l *logFile) flush() {
	line := l.redactor.redact(l.line)
	l.line = l.line[:0]
	if l.file != nil {
		if _, err := l.file.Write(line); err != nil {
			line = fmt.Appendf(line, "(the log file ends here: %v)\n", err)
			_ = l.file.Close()
			l.file = nil
		}
	}
	l.tail = append(l.tail, line...)
	if len(l.tail) > 2*maxTail {
		l.tail = bytes.Clone(l.tail[len(l.tail)-maxTail:])
	}
}

// Close takes what came without a line's end, and closes the file. The tail stays.
func (l *logFile) Close() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.line) > 0 {
		l.line = append(l.line, '\n')
		l.flush()
	}
	if l.file == nil {
		return nil
	}
	err := l.file.Close()
	l.file = nil
	return err
}

// Tail is the last output: lines that have ended, 64 KiB at most. Of half a line nobody knows whether it is a secret.
func (l *logFile) Tail() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	tail := l.tail
	if len(tail) > maxTail {
		tail = tail[len(tail)-maxTail:]
		if _, whole, ok := bytes.Cut(tail, []byte("\n")); ok {
			tail = whole
		}
	}
	return string(tail)
}

// mask stands for a secret.
const mask = "***"

// shortest is the length below which a text is no secret: replacing every "1" hides nothing and destroys the log.
const shortest = 3

// redactor replaces secrets. The zero value replaces none.
type redactor struct {
	secrets [][]byte // the longest first
	longest int
}

// newRedactor replaces texts as they are and as URLs and JSON hold them, and every longer line of those with several.
func newRedactor(texts []string) redactor {
	var forms []string
	for _, text := range texts {
		forms = append(forms, text, url.QueryEscape(text), url.PathEscape(text), quoted(text, true), quoted(text, false))
		if lines := strings.Split(text, "\n"); len(lines) > 1 {
			for _, line := range lines {
				if len(strings.TrimSpace(line)) >= 8 { // not the "}" of a JSON key file
					forms = append(forms, strings.TrimSpace(line))
				}
			}
		}
	}
	slices.SortFunc(forms, func(a, b string) int {
		if len(a) != len(b) {
			return len(b) - len(a)
		}
		return strings.Compare(a, b)
	})
	var r redactor
	for _, form := range slices.Compact(forms) {
		if len(form) >= shortest {
			r.secrets = append(r.secrets, []byte(form))
			r.longest = max(r.longest, len(form))
		}
	}
	return r
}

// quoted is a text as it stands between the quotes of JSON; Go writes & as \u0026 there, others do not.
func quoted(text string, html bool) string {
	var out bytes.Buffer
	encoder := json.NewEncoder(&out)
	encoder.SetEscapeHTML(html)
	if encoder.Encode(text) != nil {
		return ""
	}
	return out.String()[1 : out.Len()-len("\"\n")]
}

func (r redactor) redact(line []byte) []byte {
	line = bytes.Clone(line)
	for _, secret := range r.secrets {
		line = bytes.ReplaceAll(line, secret, []byte(mask))
	}
	return line
}
