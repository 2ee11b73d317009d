package host

import (
	"bytes"
	"fmt"
	"io"
	"sync"

	"github.com/metaextract/pipeline/ci"
)

// The parts of a log that is longer than ci.MaxLog: how it began, and, since failures are said last, mostly its end.
const (
	logHead = ci.MaxLog / 4
	logTail = ci.MaxLog - logHead - 256 // room for the line that says what was cut
)

// cappedLog keeps the beginning and the end of what is written to it.
type cappedLog struct {
	head []byte
	tail []byte // a ring once it is logTail long
	at   int    // where the ring begins
	cut  int64  // bytes that were left out
}

func (l *cappedLog) Write(data []byte) (int, error) {
	n := len(data)
	if room := logHead - len(l.head); room > 0 {
		take := min(room, len(data))
		l.head = append(l.head, data[:take]...)
		data = data[take:]
	}
	if room := logTail - len(l.tail); room > 0 {
		take := min(room, len(data))
		l.tail = append(l.tail, data[:take]...)
		data = data[take:]
	}
	l.cut += int64(len(data))
	if len(data) > logTail {
		data = data[len(data)-logTail:]
	}
	for len(data) > 0 {
		copied := copy(l.tail[l.at:], data)
		l.at = (l.at + copied) % logTail
		data = data[copied:]
	}
	return n, nil
}

// bytes is the log, at most ci.MaxLog bytes.
func (l *cappedLog) bytes() []byte {
	out := append([]byte(nil), l.head...)
	if l.cut > 0 {
		out = fmt.Appendf(out, "\n… %d bytes of the log were cut here …\n", l.cut)
	}
	out = append(out, l.tail[l.at:]...)
	return append(out, l.tail[:l.at]...)
}

// lineLog passes the lines of steps that run at the same time on to one writer, each after its step's name.
type lineLog struct {
	mu sync.Mutex
	to io.Writer
}

func newLineLog(to io.Writer) *lineLog { return &lineLog{to: to} }

// step returns the writer of one step. Close writes a last line that has no end.
func (l *lineLog) step(name string) *stepLines { return &stepLines{log: l, prefix: name + " | "} }

type stepLines struct {
	log    *lineLog
	prefix string
	line   []byte
}

func (s *stepLines) Write(data []byte) (int, error) {
	if s.log.to == nil {
		return len(data), nil
	}
	s.line = append(s.line, data...)
	end := bytes.LastIndexByte(s.line, '\n') + 1
	if end == 0 {
		return len(data), nil
	}
	var out []byte
	for line := range bytes.Lines(s.line[:end]) {
		out = append(append(out, s.prefix...), line...)
	}
	s.line = append(s.line[:0], s.line[end:]...)
	s.log.mu.Lock()
	defer s.log.mu.Unlock()
	_, _ = s.log.to.Write(out) // who watches is no reason to fail
	return len(data), nil
}

func (s *stepLines) close() {
	if len(s.line) > 0 {
		_, _ = s.Write([]byte("\n"))
	}
}
