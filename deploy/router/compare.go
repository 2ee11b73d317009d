package router

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"mime"
	"reflect"
	"slices"
	"strconv"
	"strings"
)

// maxPlaces is how many places of one answer are named.
const maxPlaces = 8

// differences names what an answer has otherwise than the one that the client got: nothing where they are the same.
func (m *mirroring) differences(served, other *capture) (what []string) {
	if served.status != other.status {
		what = append(what, fmt.Sprintf("status %d, not %d", other.status, served.status))
	}
	for _, name := range m.headers {
		if !slices.Equal(served.header[name], other.header[name]) {
			what = append(what, "header "+name)
		}
	}
	if bytes.Equal(served.hash.Sum(nil), other.hash.Sum(nil)) {
		return what
	}
	if served.large || other.large || !isJSON(served) || !isJSON(other) {
		return append(what, "body")
	}
	a, errA := readJSON(served.kept)
	b, errB := readJSON(other.kept)
	if errA != nil || errB != nil {
		return append(what, "body")
	}
	d := differ{ignore: m.ignore}
	d.compare(nil, a, b)
	return append(what, d.places...)
}

func isJSON(c *capture) bool {
	kind, _, err := mime.ParseMediaType(c.header.Get("Content-Type"))
	return err == nil && (kind == "application/json" || strings.HasSuffix(kind, "+json"))
}

// readJSON keeps numbers as they are written: 0.1 must not become another number on one side.
func readJSON(data []byte) (value any, err error) {
	decoder := json.NewDecoder(bytes.NewReader(data))
	decoder.UseNumber()
	if err := decoder.Decode(&value); err != nil {
		return nil, err
	}
	if _, err := decoder.Token(); !errors.Is(err, io.EOF) {
		return nil, errors.New("more than one value")
	}
	return value, nil
}

// pattern is a place in a JSON value: names and indices, * for any one, ** for any number of them.
type pattern []string

// parsePattern reads items.*.id, items[0].id and $.items[*].id alike.
func parsePattern(text string) pattern {
	text = strings.TrimPrefix(strings.TrimPrefix(text, "$"), ".")
	text = strings.NewReplacer("[", ".", "]", "").Replace(text)
	return slices.DeleteFunc(strings.Split(text, "."), func(part string) bool { return part == "" })
}

// matches takes time in proportion to the product of the lengths, however many ** there are: only the last one is tried anew.
func (p pattern) matches(path []string) bool {
	at, here := 0, 0
	star, from := -1, 0
	for here < len(path) {
		switch {
		case at < len(p) && p[at] == "**":
			star, from = at, here
			at++
		case at < len(p) && (p[at] == "*" || p[at] == path[here]):
			at++
			here++
		case star >= 0:
			from++
			at, here = star+1, from
		default:
			return false
		}
	}
	for at < len(p) && p[at] == "**" {
		at++
	}
	return at == len(p)
}

// maxDepth is from which depth on values are compared as a whole.
const maxDepth = 64

// differ collects the places in which two JSON values differ.
type differ struct {
	ignore []pattern
	places []string
}

func (d *differ) compare(path []string, a, b any) {
	if len(d.places) >= maxPlaces || slices.ContainsFunc(d.ignore, func(p pattern) bool { return p.matches(path) }) {
		return
	}
	if len(path) >= maxDepth {
		if !reflect.DeepEqual(a, b) {
			d.places = append(d.places, "body at $."+strings.Join(path, "."))
		}
		return
	}
	switch a := a.(type) {
	case map[string]any:
		if b, ok := b.(map[string]any); ok {
			names := maps.Clone(a)
			maps.Copy(names, b)
			for _, name := range slices.Sorted(maps.Keys(names)) {
				x, inA := a[name]
				y, inB := b[name]
				if inA != inB {
					x, y = inA, inB // differ, unless the place is ignored
				}
				d.compare(append(path, name), x, y)
			}
			return
		}
	case []any:
		if b, ok := b.([]any); ok {
			if len(a) != len(b) {
				d.compare(append(path, "length"), len(a), len(b))
			}
			for i := range min(len(a), len(b)) {
				d.compare(append(path, strconv.Itoa(i)), a[i], b[i])
			}
			return
		}
	default:
		switch b.(type) {
		case map[string]any, []any: // not comparable
		default:
			if a == b {
				return
			}
		}
	}
	d.places = append(d.places, "body at $."+strings.Join(path, "."))
}
