package local

import (
	"bytes"
	"fmt"
	"os"
	"sync"
	"time"

	"github.com/metaextract/pipeline/internal/redact"
)

// maxTail bounds what is kept in memory of a log, in bytes.
const maxTail = 64 << 10

// logRetry is how long a log whose file could not be written, as when the disk is full, waits before it tries again.
const logRetry = 5 * time.Second

// Log takes a program's output: without secrets, it goes to a file and to a tail in memory. A full disk makes a gap in the
// file and nothing else.
type Log struct {
	limit int64  // of the file, in bytes; 0 is none
	path  string // empty: memory only

	mu     sync.Mutex
	out    *redact.Writer
	file   *os.File // nil: there is none now
	size   int64
	lost   int64     // bytes that the file could not take
	retry  time.Time // not before
	closed bool
	tail   []byte
}

// newLog makes a log. Without a file it is in memory only.
func newLog(file *os.File, r *redact.Redactor) *Log {
	l := &Log{file: file}
	if file != nil {
		l.path = file.Name()
	}
	l.out = r.Writer(sink{l})
	return l
}

// OpenLog appends to a file, which only its owner may read. With a limit, in bytes, what is older goes to one file of the
// same size, with .1 after its name, and then away.
func OpenLog(path string, limit int64, r *redact.Redactor) (*Log, error) {
	file, size, err := appendTo(path)
	if err != nil {
		return nil, err
	}
	l := newLog(file, r)
	l.limit, l.size = limit, size
	return l, nil
}

func appendTo(path string) (*os.File, int64, error) {
	file, err := os.OpenFile(path, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, 0, err
	}
	info, err := file.Stat()
	if err != nil {
		_ = file.Close()
		return nil, 0, err
	}
	return file, info.Size(), nil
}

// Write implements io.Writer. It never fails: a full disk must not end the application.
func (l *Log) Write(data []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.out.Write(data)
}

// sink is the log behind its redactor. It needs l.mu.
type sink struct{ l *Log }

func (s sink) Write(data []byte) (int, error) {
	s.l.toFile(data)
	s.l.toTail(data)
	return len(data), nil
}

// note writes a line of our own, to the file only.
func (l *Log) note(line string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.toFile([]byte(line))
}

func (l *Log) toTail(data []byte) {
	l.tail = append(l.tail, data...)
	if len(l.tail) > 2*maxTail {
		l.tail = bytes.Clone(l.tail[len(l.tail)-maxTail:])
	}
}

// toFile writes to the file, or counts what it cannot take: the gap is told in the file once it can, and in the tail now.
func (l *Log) toFile(data []byte) {
	if l.path == "" {
		return
	}
	err := l.ready(int64(len(data)))
	if err == nil && l.file != nil {
		var n int
		n, err = l.file.Write(data)
		l.size += int64(n)
		data = data[n:]
	}
	if l.file == nil || err != nil {
		l.lost += int64(len(data))
	}
	if err != nil {
		if l.file != nil {
			_ = l.file.Close()
			l.file = nil
		}
		l.retry = time.Now().Add(logRetry)
		l.toTail(fmt.Appendf(nil, "(the log file has a gap here: %v)\n", err))
	}
}

// ready opens the file where that is due, and turns it over where n bytes more are too many.
func (l *Log) ready(n int64) (err error) {
	if l.file == nil {
		if l.closed || time.Now().Before(l.retry) {
			return nil
		}
		if l.file, l.size, err = appendTo(l.path); err != nil {
			return err
		}
	}
	if l.limit > 0 && l.size > 0 && l.size+n > l.limit {
		err := l.file.Close()
		l.file = nil
		if err == nil {
			err = os.Rename(l.path, l.path+".1")
		}
		if err != nil {
			return err
		}
		if l.file, l.size, err = appendTo(l.path); err != nil {
			return err
		}
	}
	if l.lost > 0 {
		m, err := fmt.Fprintf(l.file, "(%d bytes are missing here: they could not be written)\n", l.lost)
		l.size += int64(m)
		if err != nil {
			return err
		}
		l.lost = 0
	}
	return nil
}

// Close writes what was held back as the beginning of a secret, and closes the file. The tail stays.
func (l *Log) Close() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	err := l.out.Flush()
	l.closed = true
	if l.file == nil {
		return err
	}
	err = l.file.Close()
	l.file = nil
	return err
}

// Tail is the last output, 64 KiB at most, from the beginning of a line where some of it was cut.
func (l *Log) Tail() string {
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
