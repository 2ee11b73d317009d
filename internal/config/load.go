package config

import (
	"errors"
	"fmt"
	"io/fs"
	"reflect"

	"go.yaml.in/yaml/v3"
)

// Load reads pipeline.yaml at the root of fsys, with its defaults: also those that are found by looking at the tree (a
// component's runtimes, the format of the migrations). It does not check the rest of the tree, which need not be there;
// see Validate.
//
// The error is *Errors where the file has mistakes, and wraps fs.ErrNotExist where there is none.
func Load(fsys fs.FS) (*Config, error) {
	c, r, err := load(fsys)
	if err != nil {
		return nil, err
	}
	if err := r.err(); err != nil {
		return nil, err
	}
	return c, nil
}

// Validate is Load and Check together: the configuration where both find nothing, else every problem at once. It is for
// callers that have the whole tree.
func Validate(fsys fs.FS) (*Config, error) {
	c, r, err := load(fsys)
	if err != nil {
		return nil, err
	}
	for _, p := range c.Check(fsys) {
		if !r.tainted(p.Path) {
			r.problems = append(r.problems, p)
		}
	}
	if err := r.err(); err != nil {
		return nil, err
	}
	return c, nil
}

func load(fsys fs.FS) (*Config, *reporter, error) {
	data, err := fs.ReadFile(fsys, FileName)
	if errors.Is(err, fs.ErrNotExist) {
		hint := `run "pipeline init" to write one`
		if _, err := fs.Stat(fsys, "pipeline.yml"); err == nil {
			hint = "rename pipeline.yml"
		}
		return nil, nil, fmt.Errorf("read %s at the application's root: %w; %s", FileName, fs.ErrNotExist, hint)
	}
	if err != nil {
		return nil, nil, fmt.Errorf("read %s: %w", FileName, err)
	}
	c, r := parse(FileName, data)
	c.look(fsys)
	return c, r, nil
}

// Parse reads a configuration from data, with the defaults that need no tree. name is what problems call the file. The
// error is always *Errors, with every problem that can be seen without the tree.
func Parse(name string, data []byte) (*Config, error) {
	c, r := parse(name, data)
	if err := r.err(); err != nil {
		return nil, err
	}
	return c, nil
}

// parse returns what could be read beside the problems, so that a caller can look for more.
func parse(name string, data []byte) (*Config, *reporter) {
	where := &places{file: name, keys: map[string]place{}, values: map[string]place{}}
	r := &reporter{written: where}
	c := &Config{places: where}
	root := document(data, r)
	if root == nil || otherVersion(root, r) {
		return c, r
	}
	d := &decoder{reporter: r, open: map[*yaml.Node]bool{}}
	d.value(root, reflect.ValueOf(c).Elem(), "", rules{})
	c.setDefaults()
	c.crossCheck(r)
	return c, r
}

// otherVersion reports a file in a format that is not known, whose other keys mean who knows what.
func otherVersion(root *yaml.Node, r *reporter) bool {
	if root.Kind != yaml.MappingNode {
		return false
	}
	for i := 0; i+1 < len(root.Content); i += 2 {
		key, value := root.Content[i], root.Content[i+1]
		var version int
		if key.Value != "version" || value.ShortTag() != "!!int" || value.Decode(&version) != nil || version == FormatVersion {
			continue
		}
		r.report(place{value.Line, value.Column}, "version", fmt.Sprintf("format %d is not known", version),
			fmt.Sprintf("this pipeline reads version: %d; for a newer format, use a newer pipeline", FormatVersion))
		return true
	}
	return false
}
