package config

import (
	"fmt"
	"reflect"
	"strconv"
	"strings"
	"time"
)

// rules are what a field's tags say about its values. For a list or a mapping, is, enum, soon, also, min and max speak
// of its elements.
//
//	yaml:"start"         the key
//	doc:"…"              what it is for; editors show it
//	required:"true"      must be there, and not empty
//	is:"route"           the format of the text, one of formats
//	enum:"a,b"           the only values
//	soon:"c"             values that are known and refused: not supported yet
//	min:"1" max:"9"      bounds of a whole number
//	also:"number"        kinds of scalars taken as text besides strings: number, boolean
//	unique:"true"        no element twice
//	keys:"step"          the only keys of a mapping, one of keySets
//	keyis:"name"         the format of a mapping's keys
type rules struct {
	key, doc   string
	required   bool
	is, keyIs  string
	enum, soon []string
	min, max   *int
	also       []string
	unique     bool
	keys       []string
	fixed      any // the default, where it depends on nothing else
	inStruct   reflect.Type
	index      int
}

var keySets = map[string][]string{"step": stepNames, "service": serviceNames}

var durationType = reflect.TypeFor[time.Duration]()

// fieldsOf returns the rules of a struct's fields, in order. It panics on a tag that means nothing.
func fieldsOf(t reflect.Type) []rules {
	var all []rules
	for i := range t.NumField() {
		f := t.Field(i)
		if !f.IsExported() {
			continue
		}
		r := rules{
			key: f.Tag.Get("yaml"), doc: f.Tag.Get("doc"), required: f.Tag.Get("required") != "",
			is: f.Tag.Get("is"), keyIs: f.Tag.Get("keyis"), enum: list(f.Tag.Get("enum")), soon: list(f.Tag.Get("soon")),
			min: whole(f.Tag.Get("min")), max: whole(f.Tag.Get("max")), also: list(f.Tag.Get("also")),
			unique: f.Tag.Get("unique") != "", inStruct: t, index: i,
		}
		if set := f.Tag.Get("keys"); set != "" {
			r.keys = keySets[set]
			if r.keys == nil {
				panic(fmt.Sprintf("%s.%s: no key set %q", t, f.Name, set))
			}
		}
		for _, name := range []string{r.is, r.keyIs} {
			if _, ok := formats[name]; name != "" && !ok {
				panic(fmt.Sprintf("%s.%s: no format %q", t, f.Name, name))
			}
		}
		r.fixed = fixed[t][r.key]
		all = append(all, r)
	}
	return all
}

func list(tag string) []string {
	if tag == "" {
		return nil
	}
	return strings.Split(tag, ",")
}

func whole(tag string) *int {
	if tag == "" {
		return nil
	}
	n, err := strconv.Atoi(tag)
	if err != nil {
		panic(err)
	}
	return &n
}

// keysOf are the keys of a struct, in order.
func keysOf(t reflect.Type) []string {
	var keys []string
	for _, f := range fieldsOf(t) {
		keys = append(keys, f.key)
	}
	return keys
}

// elsewhere finds where below a struct a key belongs: "serve.port" for the port of a component. "" where nowhere.
func elsewhere(t reflect.Type, key string) string {
	for _, f := range fieldsOf(t) {
		inner := t.Field(f.index).Type
		if inner.Kind() == reflect.Pointer {
			inner = inner.Elem()
		}
		if inner.Kind() != reflect.Struct {
			continue
		}
		for _, k := range keysOf(inner) {
			if k == key {
				return f.key + "." + k
			}
		}
	}
	return ""
}
