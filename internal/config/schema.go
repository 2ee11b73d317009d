package config

import (
	"encoding/json"
	"fmt"
	"reflect"
	"strings"
	"time"

	"github.com/google/jsonschema-go/jsonschema"
)

//go:generate go test . -run TestSchema -update

// schemaDraft is the JSON Schema draft that editors' YAML support knows best.
const schemaDraft = "http://json-schema.org/draft-07/schema#"

// oneOf lists keys of which exactly one must be there.
var oneOf = map[reflect.Type][]string{reflect.TypeFor[Serve](): {"command", "static"}}

// Schema is the JSON Schema of pipeline.yaml, for editors. It is committed as pipeline.schema.json. What it refuses Parse
// refuses too, with a better message; Parse also checks what a schema cannot say.
func Schema() ([]byte, error) {
	s := schemaOf(reflect.TypeFor[Config](), rules{doc: "How an application is checked, tested, built and deployed."})
	s.Schema, s.Title = schemaDraft, FileName
	s.PatternProperties = map[string]*jsonschema.Schema{"^x-": {Description: "Free: a home for YAML anchors."}}
	data, err := json.MarshalIndent(s, "", "  ")
	if err != nil {
		return nil, fmt.Errorf("write schema: %w", err)
	}
	return append(data, '\n'), nil
}

func schemaOf(t reflect.Type, r rules) *jsonschema.Schema {
	s := &jsonschema.Schema{Description: r.doc}
	if t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	element := rules{is: r.is, enum: r.enum, also: r.also}
	switch {
	case t == durationType:
		s.Type, s.Pattern = "string", formats["duration"].pattern
	case t.Kind() == reflect.Struct:
		s.Type = "object"
		addFields(s, t)
	case t.Kind() == reflect.Map:
		s.Type = "object"
		addKeys(s, t, r, element)
	case t.Kind() == reflect.Slice:
		s.Type, s.Items, s.UniqueItems = "array", schemaOf(t.Elem(), element), r.unique
	case t.Kind() == reflect.String:
		s.Type = "string"
		if len(r.also) > 0 {
			s.Type, s.Types = "", append([]string{"string"}, r.also...)
		}
		for _, v := range r.enum {
			s.Enum = append(s.Enum, v)
		}
		s.Pattern = formats[r.is].pattern
	case t.Kind() == reflect.Int:
		s.Type, s.Minimum, s.Maximum = "integer", bound(r.min), bound(r.max)
	case t.Kind() == reflect.Bool:
		s.Type = "boolean"
	}
	s.Default = defaultOf(r.fixed)
	return s
}

func addFields(s *jsonschema.Schema, t reflect.Type) {
	s.Properties = map[string]*jsonschema.Schema{}
	s.AdditionalProperties = &jsonschema.Schema{Not: &jsonschema.Schema{}}
	for _, f := range fieldsOf(t) {
		p := schemaOf(t.Field(f.index).Type, f)
		if f.required {
			s.Required = append(s.Required, f.key)
			if p.Type == "object" {
				p.MinProperties = jsonschema.Ptr(1)
			}
		} else {
			orNull(p)
		}
		s.Properties[f.key], s.PropertyOrder = p, append(s.PropertyOrder, f.key)
	}
	for _, key := range oneOf[t] {
		s.OneOf = append(s.OneOf, &jsonschema.Schema{Type: "object", Required: []string{key}})
	}
	if s.OneOf != nil {
		s.OneOf = append(s.OneOf, &jsonschema.Schema{Type: "null"})
	}
}

// orNull lets a mapping or list be empty, as it is when everything in it is commented out.
func orNull(s *jsonschema.Schema) {
	if s.Type == "object" || s.Type == "array" {
		s.Type, s.Types = "", []string{s.Type, "null"}
	}
}

func addKeys(s *jsonschema.Schema, t reflect.Type, r, element rules) {
	value := func() *jsonschema.Schema {
		v := schemaOf(t.Elem(), element)
		if t.Elem().Kind() == reflect.Struct {
			orNull(v)
		}
		return v
	}
	if r.keys == nil {
		s.AdditionalProperties = value()
		if r.keyIs != "" {
			s.PropertyNames = &jsonschema.Schema{Pattern: formats[r.keyIs].pattern}
		}
		return
	}
	s.Properties = map[string]*jsonschema.Schema{}
	s.AdditionalProperties = &jsonschema.Schema{Not: &jsonschema.Schema{}}
	for _, key := range r.keys { // spelled out, so that editors complete them
		s.Properties[key], s.PropertyOrder = value(), append(s.PropertyOrder, key)
	}
}

func bound(n *int) *float64 {
	if n == nil {
		return nil
	}
	return jsonschema.Ptr(float64(*n))
}

// defaultOf is a default as it would be written in the file.
func defaultOf(v any) json.RawMessage {
	if v == nil {
		return nil
	}
	if d, ok := v.(time.Duration); ok {
		v = strings.TrimSuffix(d.String(), "m0s")
		if v != d.String() {
			v = v.(string) + "m"
		}
	}
	data, err := json.Marshal(v)
	if err != nil {
		panic(err) // a constant of this package
	}
	return data
}
