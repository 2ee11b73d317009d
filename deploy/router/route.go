package router

import (
	"sync"
	"sync/atomic"
)

// maxRoutes bounds how many names of routes there are. Requests beyond are "METHOD other": whoever tries paths must not
// fill the memory.
const maxRoutes = 1024

// maxSegments and maxRoute bound one name.
const (
	maxSegments = 6
	maxRoute    = 120
)

// routeNames keeps one string for each route.
type routeNames struct {
	mu    sync.Mutex
	names atomic.Pointer[map[string]*string] // replaced, never changed: readers take no lock
}

// of is a request's route: its method and its path, in which segments that look like ids are ":id".
func (n *routeNames) of(method, path string) *string {
	var room [maxRoute + 32]byte
	name := normalise(room[:0], method, path)
	if names := n.names.Load(); names != nil {
		if known, ok := (*names)[string(name)]; ok { // no copy is made for a look-up
			return known
		}
	}
	return n.add(method, string(name))
}

func (n *routeNames) add(method, name string) *string {
	n.mu.Lock()
	defer n.mu.Unlock()
	var names map[string]*string
	if old := n.names.Load(); old != nil {
		names = *old
	}
	if known, ok := names[name]; ok {
		return known
	}
	if len(names) >= maxRoutes {
		if !isMethod(method) {
			method = "OTHER"
		}
		name = method + " other"
		if known, ok := names[name]; ok {
			return known
		}
	}
	next := make(map[string]*string, len(names)+1)
	for key, value := range names {
		next[key] = value
	}
	next[name] = &name
	n.names.Store(&next)
	return &name
}

// normalise writes a route's name.
func normalise(to []byte, method, path string) []byte {
	if !isMethod(method) {
		method = "OTHER"
	}
	to = append(to, method...)
	to = append(to, ' ')
	began := len(to)
	for segments := 0; ; segments++ {
		for path != "" && path[0] == '/' {
			path = path[1:]
		}
		if path == "" {
			break
		}
		if segments == maxSegments || len(to)-began > maxRoute-24 {
			to = append(to, "/…"...)
			break
		}
		end := 0
		for end < len(path) && path[end] != '/' {
			end++
		}
		to = append(to, '/')
		if isID(path[:end]) {
			to = append(to, ":id"...)
		} else {
			to = append(to, path[:end]...)
		}
		path = path[end:]
	}
	if len(to) == began {
		to = append(to, '/')
	}
	return to
}

func isMethod(method string) bool {
	switch method {
	case "GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE":
		return true
	}
	return false
}

// isID says whether a segment names one of many: a number, a UUID, a hash, a token, anything long or not plain text. The
// last matters for privacy as well: addresses and tokens in a path are not to be in records.
func isID(segment string) bool {
	if len(segment) > 24 {
		return true
	}
	digits := 0
	for i := range len(segment) {
		switch c := segment[i]; {
		case c >= '0' && c <= '9':
			digits++
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c == '-', c == '_', c == '.':
		default:
			return true
		}
	}
	// v1, 2fa and mp3 are words; 42, 8f3a9c1d and INV-2024-17 are not.
	return digits == len(segment) && digits > 0 || digits >= 3
}
