package local

import (
	"bytes"
	"fmt"
	"os"
	"sync"

	"github.com/metaextract/pipeline/internal/redact"
)

// maxTail bounds what is kept in memory of a log, in bytes.
const maxTail = 64 << 10

// logFile takes a unit's output: without secrets, it goes to the file and to a tail in memory.
type logFile struct {
	mu   sync.Mutex
	out  *redact.Writer
	file *os.File // nil: memory only
	tail []byte
}

func newLog(file *os.File, r *redact.Redactor) *logFile {
	l := &logFile{file: file}
	l.out = r.Writer(sink{l})
	return l
}

// Write implements io.Writer. It never fails: a full disk must not end the application that is being tried.
func (l *logFile) Write(data []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.out.Write(data)
}

// sink is the log behind its redactor. It needs l.mu.
type sink struct{ l *logFile }

func (s sink) Write(data []byte) (int, error) {
	l, n := s.l, len(data)
	if l.file != nil {
		if _, err := l.file.Write(data); err != nil {
			data = fmt.Appendf(bytes.Clone(data), "(the log file ends here: %v)\n", err)
			_ = l.file.Close()
			l.file = nil
		}
	}
	l.tail = append(l.tail, data...)
	if len(l.tail) > 2*maxTail {
		l.tail = bytes.Clone(l.tail[len(l.tail)-maxTail:])
	}
	return n, nil
}

// Close writes what was held back as the beginning of a secret, and closes the file. The tail stays.
func (l *logFile) Close() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	err := l.out.Flush()
	if l.file == nil {
		return err
	}
	err = l.file.Close()
	l.file = nil
	return err
}

// Tail is the last output, 64 KiB at most, from the beginning of a line where some of it was cut.
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
