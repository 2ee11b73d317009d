package docker

import (
	"bytes"
	"sync"
)

// tail keeps the end of what is written to it: most bytes, from the beginning of a line where some were cut.
type tail struct {
	most int

	mu   sync.Mutex
	data []byte
	cut  bool
}

// Write implements io.Writer.
func (t *tail) Write(data []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.data = append(t.data, data...)
	if len(t.data) > 2*t.most { // not at every write
		t.data, t.cut = bytes.Clone(t.data[len(t.data)-t.most:]), true
	}
	return len(data), nil
}

func (t *tail) text() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	data, cut := t.data, t.cut
	if len(data) > t.most {
		data, cut = data[len(data)-t.most:], true
	}
	if cut {
		if _, whole, ok := bytes.Cut(data, []byte("\n")); ok {
			data = whole
		}
	}
	return string(data)
}
