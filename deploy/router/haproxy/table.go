package haproxy

import (
	"crypto/rand"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/metaextract/pipeline/deploy"
	"github.com/metaextract/pipeline/deploy/router"
)

// slots are in the order of their intervals, as in the project's own router.
var slots = []deploy.Slot{deploy.Blue, deploy.Green}

// table is who gets which share of new requests. It is kept in HAProxy itself, beside what HAProxy makes of it, so that
// whoever comes next finds it: what a program that died had not finished, nobody sees.
type table struct {
	Version int            `json:"version"`
	Salt    string         `json:"salt"`
	Slots   []slot         `json:"slots"`
	Routing router.Routing `json:"routing"`
}

// tableVersion is the format of what is kept.
const tableVersion = 1

type slot struct {
	Slot     deploy.Slot `json:"slot"`
	Weight   int         `json:"weight"`
	Draining bool        `json:"draining,omitempty"`
	Stream   string      `json:"stream"` // names this registration in its records
	router.Registration
	addresses []string // of its backends, in their order
}

func newTable() *table { return &table{Version: tableVersion, Salt: rand.Text(), Slots: []slot{}} }

func (t *table) find(name deploy.Slot) *slot {
	for i := range t.Slots {
		if t.Slots[i].Slot == name {
			return &t.Slots[i]
		}
	}
	return nil
}

func (t *table) clone() *table {
	next := *t
	next.Slots = slices.Clone(t.Slots)
	return &next
}

func (t *table) without(name deploy.Slot) *table {
	next := t.clone()
	next.Slots = slices.DeleteFunc(next.Slots, func(s slot) bool { return s.Slot == name })
	return next
}

// split says whether more than one slot has weight.
func (t *table) split() bool {
	n := 0
	for _, s := range t.Slots {
		if s.Weight > 0 {
			n++
		}
	}
	return n > 1
}

// shares are the entries of the weights: the only slot that has some, or where green's interval begins.
func (t *table) shares() []entry {
	if t.split() {
		return []entry{{"split", fmt.Sprint(t.find(deploy.Blue).Weight * (whole / 100))}}
	}
	for _, s := range t.Slots {
		if s.Weight > 0 {
			return []entry{{"sole", string(s.Slot)}}
		}
	}
	return nil
}

// Keys of the table that hold what is kept: JSON in pieces that fit into HAProxy's buffers.
const (
	memoryKey   = "memory"
	memoryPiece = 4 << 10
)

// entries is the table in HAProxy's terms.
func (t *table) entries(o Options) ([]entry, error) {
	data, err := json.Marshal(t)
	if err != nil {
		return nil, err
	}
	all := append([]entry{{"salt", t.Salt}}, t.shares()...)
	text := base64.RawStdEncoding.EncodeToString(data)
	for n := 0; len(text) > 0; n++ {
		piece := text[:min(memoryPiece, len(text))]
		text = text[len(piece):]
		all = append(all, entry{fmt.Sprint(memoryKey, n), piece})
	}
	for _, s := range t.Slots {
		all = append(all, entry{"slot:" + string(s.Slot), fmt.Sprintf("%s|%d|%s", s.Stream, s.Weight, s.Release)})
		for i, backend := range s.Backends {
			for _, prefix := range backend.Routes {
				all = append(all, entry{string(s.Slot) + ":" + pathKey(prefix), backendName(s.Slot, i)})
			}
		}
	}
	return append(all, t.rules(o)...), nil
}

// pathKey is what a path has to begin with that is under a prefix: HAProxy puts a slash after each, so that whole segments
// are compared. Values of requests are written in hexadecimal, which leaves none that the table's syntax could mistake.
func pathKey(prefix string) string {
	if prefix = strings.TrimRight(prefix, "/"); prefix == "" {
		return ""
	}
	return encode(prefix + "/")
}

func encode(value string) string { return strings.ToUpper(hex.EncodeToString([]byte(value))) }

// text is the table as the file that HAProxy reads when it starts.
func text(entries []entry) string {
	var b strings.Builder
	for _, e := range entries {
		b.WriteString(e.key + " " + e.value + "\n")
	}
	return b.String()
}

// remember is the table that entries hold.
func remember(entries map[string]string, components int) (*table, error) {
	var text strings.Builder
	for n := 0; ; n++ {
		piece, ok := entries[fmt.Sprint(memoryKey, n)]
		if !ok {
			break
		}
		text.WriteString(piece)
	}
	data, err := base64.RawStdEncoding.DecodeString(text.String())
	if err != nil {
		return nil, fmt.Errorf("read the table: %w", err)
	}
	if len(data) == 0 {
		return nil, errors.New("read the table: it is not one that the pipeline wrote")
	}
	t := &table{}
	if err := json.Unmarshal(data, t); err != nil {
		return nil, fmt.Errorf("read the table: %w", err)
	}
	if t.Version != tableVersion {
		return nil, fmt.Errorf("read the table: it has format %d, this program reads %d", t.Version, tableVersion)
	}
	for i := range t.Slots {
		if t.Slots[i].addresses, err = addresses(t.Slots[i].Registration, components); err != nil {
			return nil, fmt.Errorf("read the table: %w", err)
		}
	}
	return t, nil
}
