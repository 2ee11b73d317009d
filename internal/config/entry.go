package config

import (
	"fmt"

	"go.yaml.in/yaml/v3"
)

// entry is a key of a mapping and its value.
type entry struct {
	key   string
	at    place // of the key
	value *yaml.Node
}

// entries returns the entries of a mapping in order, merge keys (<<: *base) resolved: what the mapping says itself wins
// over what it merges, and an earlier merged mapping over a later one. It reports duplicate keys and keys that are no
// text. Of anything that is no mapping there are none.
func (d *decoder) entries(n *yaml.Node, path string) []entry {
	if n.Kind != yaml.MappingNode {
		return nil
	}
	var all []entry
	var merged []*yaml.Node
	lines := map[string]int{}
	for i := 0; i+1 < len(n.Content); i += 2 {
		key, value := n.Content[i], n.Content[i+1]
		at := place{key.Line, key.Column}
		if key.Kind == yaml.AliasNode {
			key = key.Alias
		}
		switch {
		case isMerge(key):
			merged = append(merged, value)
			continue
		case key.Kind != yaml.ScalarNode || isNull(key):
			d.report(at, path, "a key must be a text, but is "+kindOf(key), "write key: value")
			continue
		}
		if d.credential(key.Value, at, path) {
			continue
		}
		if line, ok := lines[key.Value]; ok {
			d.report(at, join(path, key.Value), fmt.Sprintf("duplicate key: line %d has it already", line), "remove one of them")
			continue
		}
		lines[key.Value] = at.line
		all = append(all, entry{key.Value, at, value})
	}
	for _, m := range merged {
		for _, e := range d.merged(m, path) {
			if _, ok := lines[e.key]; !ok {
				lines[e.key] = e.at.line
				all = append(all, e)
			}
		}
	}
	return all
}

// merged returns the entries of what a merge key names: a mapping, or a list of them.
func (d *decoder) merged(n *yaml.Node, path string) []entry {
	at := place{n.Line, n.Column}
	n, leave := d.enter(n, at, path)
	if n == nil {
		return nil
	}
	defer leave()
	switch n.Kind {
	case yaml.MappingNode:
		return d.entries(n, path)
	case yaml.SequenceNode:
		var all []entry
		for _, m := range n.Content {
			all = append(all, d.merged(m, path)...)
		}
		return all
	default:
		d.report(at, path, "<< merges mappings, but this is "+kindOf(n), "name an anchor on a mapping: <<: *base")
		return nil
	}
}
