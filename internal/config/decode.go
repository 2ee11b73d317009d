package config

import (
	"fmt"
	"math"
	"reflect"
	"slices"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"
)

// decoder walks a YAML document along the Go types. It goes on after a mistake, so that one run reports them all.
type decoder struct {
	*reporter
	nodes int // visited so far
	depth int // around the node being decoded
	// open are the anchored nodes being expanded, to notice one that contains itself.
	open map[*yaml.Node]bool
}

// value decodes a node into out, which lies at path and obeys the rules.
func (d *decoder) value(n *yaml.Node, out reflect.Value, path string, r rules) {
	d.written.values[path] = place{n.Line, n.Column}
	at := d.written.values[path]
	n, leave := d.enter(n, at, path)
	if n == nil {
		return
	}
	defer leave()
	if out.Kind() == reflect.Pointer {
		if isNull(n) && out.Type().Elem().Kind() == reflect.Struct {
			return
		}
		out.Set(reflect.New(out.Type().Elem()))
		out = out.Elem()
	}
	switch {
	case out.Type() == durationType:
		d.duration(n, out, at, path)
	case out.Kind() == reflect.Struct:
		d.structure(n, out, at, path)
	case out.Kind() == reflect.Map:
		d.mapping(n, out, at, path, r)
	case out.Kind() == reflect.Slice:
		d.list(n, out, at, path, r)
	case out.Kind() == reflect.Interface:
		if v := d.any(n, at, path); v != nil {
			out.Set(reflect.ValueOf(v))
		}
	case isNull(n):
		d.report(at, path, "has no value", "give it one or remove the line (a value that starts with # must be in quotes)")
	case out.Kind() == reflect.String:
		d.text(n, out, at, path, r)
	case out.Kind() == reflect.Int:
		d.number(n, out, at, path, r)
	case out.Kind() == reflect.Bool:
		d.boolean(n, out, at, path)
	default:
		panic("no rule for " + out.Type().String())
	}
}

// enter follows an alias and counts the node. It returns nil where the node must not be looked at, which it reports.
// Otherwise the caller calls the function when it is done with the node.
func (d *decoder) enter(n *yaml.Node, at place, path string) (*yaml.Node, func()) {
	if n.Kind == yaml.AliasNode {
		if d.open[n.Alias] {
			d.report(at, path, "this anchor contains itself", "write the value out")
			return nil, nil
		}
		n = n.Alias
	}
	if d.nodes++; d.nodes > maxNodes {
		if d.nodes == maxNodes+1 {
			d.report(at, path, fmt.Sprintf("the file has more than %d values once its aliases are expanded", maxNodes), "use fewer aliases")
		}
		return nil, nil
	}
	if d.depth == maxDepth {
		d.report(at, "", fmt.Sprintf("values are nested more than %d deep", maxDepth), "")
		return nil, nil
	}
	d.depth++
	if n.Anchor == "" {
		return n, func() { d.depth-- }
	}
	d.open[n] = true
	return n, func() { d.depth--; delete(d.open, n) }
}

func (d *decoder) wrong(n *yaml.Node, at place, path, want, hint string) {
	d.report(at, path, fmt.Sprintf("must be %s, but is %s", want, kindOf(n)), hint)
}

func (d *decoder) structure(n *yaml.Node, out reflect.Value, at place, path string) {
	if n.Kind != yaml.MappingNode && !isNull(n) {
		d.wrong(n, at, path, "a mapping", "its keys are "+strings.Join(keysOf(out.Type()), ", "))
		return
	}
	fields := fieldsOf(out.Type())
	seen, meant := map[string]bool{}, map[string]bool{}
	for _, e := range d.entries(n, path) {
		i := slices.IndexFunc(fields, func(f rules) bool { return f.key == e.key })
		if i < 0 {
			if path == "" && strings.HasPrefix(e.key, "x-") { // a home for anchors
				continue
			}
			meant[d.unknown(e, out.Type(), path)] = true
			continue
		}
		seen[e.key] = true
		d.written.keys[join(path, e.key)] = e.at
		d.value(e.value, out.Field(fields[i].index), join(path, e.key), fields[i])
	}
	for _, f := range fields {
		field, inner := out.Field(f.index), join(path, f.key)
		if !seen[f.key] {
			d.absent(field, inner, f)
		}
		if f.required && field.IsZero() && !meant[f.key] && !d.within(inner) {
			d.report(d.written.key(path), inner, "is missing", "it is required: "+f.doc)
		}
	}
}

// within says whether a problem at path or inside it is known.
func (d *decoder) within(path string) bool {
	return slices.ContainsFunc(d.problems, func(p Problem) bool { return within(p.Path, path) })
}

// absent fills in the defaults of a field that is not written.
func (d *decoder) absent(out reflect.Value, path string, r rules) {
	switch {
	case out.Kind() == reflect.Struct:
		d.structure(&yaml.Node{Kind: yaml.ScalarNode, Tag: "!!null"}, out, d.written.key(path), path)
	case r.fixed == nil:
	case out.Kind() == reflect.Pointer:
		out.Set(reflect.New(out.Type().Elem()))
		out.Elem().Set(reflect.ValueOf(r.fixed).Convert(out.Type().Elem()))
	default:
		out.Set(reflect.ValueOf(r.fixed).Convert(out.Type()))
	}
}

// unknown reports a key that the struct does not have, and returns the one that was probably meant.
func (d *decoder) unknown(e entry, t reflect.Type, path string) string {
	if len(d.problems) >= maxProblems {
		return ""
	}
	keys := keysOf(t)
	hint := didYouMean(e.key, keys, "the keys here are")
	meant := nearest(e.key, keys)
	if inner := elsewhere(t, e.key); inner != "" {
		hint, meant = fmt.Sprintf("did you mean %q?", inner), ""
	}
	d.report(e.at, join(path, e.key), "unknown key", hint)
	return meant
}

func (d *decoder) mapping(n *yaml.Node, out reflect.Value, at place, path string, r rules) {
	if isNull(n) {
		return
	}
	if n.Kind != yaml.MappingNode {
		d.wrong(n, at, path, "a mapping", "write one key: value a line, indented")
		return
	}
	out.Set(reflect.MakeMap(out.Type()))
	for _, e := range d.entries(n, path) {
		inner := join(path, e.key)
		d.written.keys[inner] = e.at
		if r.keys != nil && !slices.Contains(r.keys, e.key) {
			d.report(e.at, inner, "unknown key", didYouMean(e.key, r.keys, "the keys here are"))
		}
		if r.keyIs != "" && !fits(r.keyIs, e.key) {
			f := formats[r.keyIs]
			d.report(e.at, inner, "the key is not "+f.what, f.hint)
		}
		v := reflect.New(out.Type().Elem()).Elem()
		d.value(e.value, v, inner, rules{is: r.is, enum: r.enum, soon: r.soon, also: r.also})
		out.SetMapIndex(reflect.ValueOf(e.key), v)
	}
	if out.Len() == 0 {
		out.SetZero()
	}
}

func (d *decoder) list(n *yaml.Node, out reflect.Value, at place, path string, r rules) {
	if isNull(n) {
		return
	}
	if n.Kind != yaml.SequenceNode {
		d.wrong(n, at, path, "a list", "write [a, b], or one - a line")
		return
	}
	if len(n.Content) > maxItems {
		d.report(at, path, fmt.Sprintf("has more than %d items", maxItems), "use globs, or fewer of them")
		return
	}
	first := map[string]int{}
	for i, item := range n.Content {
		inner := fmt.Sprintf("%s[%d]", path, i)
		v := reflect.New(out.Type().Elem()).Elem()
		d.value(item, v, inner, rules{is: r.is, enum: r.enum, soon: r.soon, also: r.also})
		out.Set(reflect.Append(out, v))
		if !r.unique || d.within(inner) {
			continue
		}
		if j, ok := first[v.String()]; ok {
			d.report(d.written.value(inner), inner, fmt.Sprintf("is listed twice: %s[%d] is the same", path, j), "remove one")
			continue
		}
		first[v.String()] = i
	}
}

// text decodes a string. Its messages show what was written only where no secret belongs.
func (d *decoder) text(n *yaml.Node, out reflect.Value, at place, path string, r rules) {
	scalar := n.Kind == yaml.ScalarNode
	switch tag := n.ShortTag(); {
	case scalar && (tag == "!!str" || tag == "!!timestamp" || tag == "!!merge"):
	case scalar && (tag == "!!int" || tag == "!!float") && slices.Contains(r.also, "number"):
	case scalar && tag == "!!bool" && slices.Contains(r.also, "boolean"):
	case scalar:
		d.wrong(n, at, path, "a text", "put it in quotes")
		return
	default:
		d.wrong(n, at, path, "a text", "write it on one line")
		return
	}
	if d.credential(n.Value, at, path) {
		return
	}
	switch {
	case slices.Contains(r.soon, n.Value):
		d.report(at, path, fmt.Sprintf("%q is not supported yet", n.Value), "today there is "+strings.Join(r.enum, ", "))
		return
	case r.enum != nil && !slices.Contains(r.enum, n.Value):
		d.report(at, path, fmt.Sprintf("%s is not one of its values", quoted(n.Value)), didYouMean(n.Value, r.enum, "they are"))
		return
	case r.is != "" && !fits(r.is, n.Value):
		f := formats[r.is]
		message := "is not " + f.what
		if !f.private {
			message = quoted(n.Value) + " " + message
		}
		d.report(at, path, message, f.hint)
		return
	}
	out.SetString(n.Value)
}

// credential reports a text that is a credential by its look, and shows nothing of it.
func (d *decoder) credential(text string, at place, path string) bool {
	if !issued.MatchString(text) {
		return false
	}
	d.report(at, path, "holds a credential", "revoke it if this file was ever pushed, and write a reference such as env://NAME where references are allowed")
	return true
}

func (d *decoder) duration(n *yaml.Node, out reflect.Value, at place, path string) {
	f := formats["duration"]
	if n.Kind != yaml.ScalarNode || n.ShortTag() != "!!str" {
		d.wrong(n, at, path, f.what, f.hint)
		return
	}
	length, err := time.ParseDuration(n.Value)
	if err != nil || !fits("duration", n.Value) {
		if !d.credential(n.Value, at, path) {
			d.report(at, path, quoted(n.Value)+" is not "+f.what, f.hint)
		}
		return
	}
	if length <= 0 {
		d.report(at, path, "must be longer than 0", "remove the line for the default")
		return
	}
	out.SetInt(int64(length))
}

func (d *decoder) number(n *yaml.Node, out reflect.Value, at place, path string, r rules) {
	var v int64
	if n.Kind == yaml.ScalarNode && n.ShortTag() == "!!float" {
		d.report(at, path, "must be a whole number", "write it without fraction")
		return
	}
	if n.Kind != yaml.ScalarNode || n.ShortTag() != "!!int" {
		d.wrong(n, at, path, "a whole number", "write it without quotes or unit")
		return
	}
	low, high := math.MinInt32, math.MaxInt32
	if r.min != nil {
		low = *r.min
	}
	if r.max != nil {
		high = *r.max
	}
	if err := n.Decode(&v); err != nil || v < int64(low) || v > int64(high) {
		message := fmt.Sprintf("must be from %d to %d", low, high)
		if r.max == nil {
			message = fmt.Sprintf("must be %d or more", low)
		}
		d.report(at, path, message, "")
		return
	}
	out.SetInt(v)
}

func (d *decoder) boolean(n *yaml.Node, out reflect.Value, at place, path string) {
	if n.Kind != yaml.ScalarNode || n.ShortTag() != "!!bool" {
		d.wrong(n, at, path, "true or false", "write true or false, without quotes")
		return
	}
	out.SetBool(strings.EqualFold(n.Value, "true"))
}

// any decodes what goes into a JSON body: mappings, lists, texts, numbers, booleans and null.
func (d *decoder) any(n *yaml.Node, at place, path string) any {
	switch n.Kind {
	case yaml.MappingNode:
		m := map[string]any{}
		for _, e := range d.entries(n, path) {
			m[e.key] = d.inner(e.value, join(path, e.key))
		}
		return m
	case yaml.SequenceNode:
		l := make([]any, len(n.Content))
		for i, item := range n.Content {
			l[i] = d.inner(item, fmt.Sprintf("%s[%d]", path, i))
		}
		return l
	}
	var v any
	switch n.ShortTag() {
	case "!!null":
		return nil
	case "!!str", "!!timestamp", "!!merge":
		d.credential(n.Value, at, path)
		return n.Value
	case "!!int", "!!float", "!!bool":
		if err := n.Decode(&v); err == nil {
			if f, ok := v.(float64); !ok || !math.IsNaN(f) && !math.IsInf(f, 0) {
				return v
			}
		}
	}
	d.report(at, path, kindOf(n)+" that JSON cannot hold", "put it in quotes")
	return nil
}

func (d *decoder) inner(n *yaml.Node, path string) any {
	var v any
	d.value(n, reflect.ValueOf(&v).Elem(), path, rules{})
	return v
}

// quoted shows a text, cut where it is long.
func quoted(text string) string {
	if runes := []rune(text); len(runes) > 60 {
		text = string(runes[:60]) + "…"
	}
	return fmt.Sprintf("%q", text)
}
